// The Vercel AI SDK with its OpenAI provider: both of its models, over /responses and over /chat/completions.
//
// What it replays between steps it refers to by id (`stored`), unless it is told that nothing is stored: with
// `store: false` it sends the items themselves.

import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool } from 'ai';
import { address, citySchema, failingModel, failure, model, tell } from './scenarios.mjs';

const openai = createOpenAI(address);
const prompt = 'How are you?';
const weather = tool({
  description: 'The weather in a city.',
  inputSchema: jsonSchema(citySchema),
  execute: ({ city }) => `sunny in ${city}`,
});
const toolUse = { prompt: '[tool] Weather?', tools: { weather }, stopWhen: stepCountIs(3) };

const hasUsage = ({ inputTokens, outputTokens }) => inputTokens > 0 && outputTokens > 0;

async function streamed(request) {
  const errors = [];
  const stream = streamText({
    ...request,
    onError: ({ error }) => errors.push(error.constructor.name),
  });
  const kinds = new Set();
  let deltas = '';
  const read = async () => {
    for await (const part of stream.fullStream) {
      kinds.add(part.type);
      if (part.type === 'text-delta') deltas += part.text;
    }
  };
  const broke = await failure(read());
  return { stream, kinds, deltas, errors, broke: broke.name };
}

function scenarios(of, store) {
  const providerOptions = { openai: { store } };
  return {
    async generate() {
      const result = await generateText({ model: of(model), providerOptions, prompt });
      return {
        text: result.text,
        finish: result.finishReason,
        hasUsage: hasUsage(result.usage),
        warnings: result.warnings ?? [],
      };
    },

    async stream() {
      const { stream, deltas, errors, broke } = await streamed({ model: of(model), providerOptions, prompt });
      return {
        text: deltas,
        finish: await stream.finishReason,
        hasUsage: hasUsage(await stream.usage),
        errors,
        broke,
      };
    },

    async tools() {
      const result = await generateText({ model: of(model), providerOptions, ...toolUse });
      return { text: result.text, steps: result.steps.map((step) => step.finishReason) };
    },

    async streamedTools() {
      const { stream, kinds, deltas, errors } = await streamed({
        model: of(model),
        providerOptions,
        ...toolUse,
      });
      const steps = await stream.steps;
      return {
        text: deltas,
        steps: steps.map((step) => step.finishReason),
        sawResult: kinds.has('tool-call') && kinds.has('tool-result'),
        errors,
      };
    },

    async reasoning() {
      const { stream, deltas, errors } = await streamed({
        model: of(model),
        providerOptions,
        prompt: '[reason] Hi',
      });
      return { text: deltas, finish: await stream.finishReason, errors };
    },

    async severalTurns() {
      const messages = [{ role: 'user', content: 'First' }];
      const first = await generateText({ model: of(model), providerOptions, messages });
      messages.push(...first.response.messages, { role: 'user', content: 'Second' });
      const second = await generateText({ model: of(model), providerOptions, messages });
      return { texts: [first.text, second.text] };
    },

    async structured() {
      const output = Output.object({ schema: jsonSchema(citySchema) });
      const result = await generateText({ model: of(model), providerOptions, prompt: 'A city', output });
      return result.output;
    },

    async cutAtTheLimit() {
      const result = await generateText({
        model: of(model),
        providerOptions,
        prompt: '[size=4000]',
        maxOutputTokens: 16,
      });
      return { finish: result.finishReason };
    },

    async unknownModel() {
      return failure(generateText({ model: of('nothing'), prompt }), 'statusCode', 'isRetryable');
    },

    async failingStream() {
      const { kinds, deltas, errors, broke } = await streamed({
        model: of(failingModel),
        providerOptions,
        prompt: '[chunks=9]',
      });
      return { afterOutput: deltas !== '', told: kinds.has('error'), errors, broke };
    },
  };
}

// A thought, a tool call and its result, then another turn: all of it referred to by id.
async function turnsByReference() {
  const messages = [{ role: 'user', content: '[reason] [tool] Weather?' }];
  const request = { model: openai.responses(model), tools: { weather }, stopWhen: stepCountIs(3) };
  const first = await generateText({ ...request, messages });
  messages.push(...first.response.messages, { role: 'user', content: 'Second' });
  const second = await generateText({ ...request, messages });
  messages.push(...second.response.messages, { role: 'user', content: 'Third' });
  const { stream, deltas, errors } = await streamed({ ...request, messages });
  return { texts: [first.text, second.text, deltas], finish: await stream.finishReason, errors };
}

const named = (prefix, found) =>
  Object.fromEntries(Object.entries(found).map(([name, scenario]) => [`${prefix}.${name}`, scenario]));

await tell({
  ...named('responses', scenarios((id) => openai.responses(id), false)),
  ...named('stored', scenarios((id) => openai.responses(id), undefined)),
  ...named('chat', scenarios((id) => openai.chat(id), false)),
  turnsByReference,
});
