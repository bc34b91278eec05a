// The OpenAI JavaScript SDK with its own defaults, retries included.

import OpenAI from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { address, blockedModel, citySchema, failingModel, failure, model, tell } from './scenarios.mjs';

const client = new OpenAI(address);
const question = 'How are you?';
const toolQuestion = [{ role: 'user', content: '[tools=2] What is the weather?' }];
const responsesTool = { type: 'function', name: 'get_weather', parameters: citySchema, strict: true };
const chatTool = { type: 'function', function: { name: 'get_weather', parameters: citySchema } };
const City = z.object({ city: z.string() });

const said = (response) => ({
  text: response.output_text,
  status: response.status,
  model: response.model,
  hasUsage: response.usage.input_tokens > 0 && response.usage.output_tokens > 0,
});

const completed = (completion) => ({
  text: completion.choices[0].message.content,
  finish: completion.choices[0].finish_reason,
  model: completion.model,
  hasUsage: completion.usage?.prompt_tokens > 0 && completion.usage?.completion_tokens > 0,
});

const callsOf = (response) => response.output.filter((item) => item.type === 'function_call');

const resultsOf = (calls) =>
  calls.map((call, n) => ({ type: 'function_call_output', call_id: call.call_id, output: `sunny ${n}` }));

// responses.stream() throws at an event it does not know, or that comes out of order.
async function strictly(request) {
  const stream = client.responses.stream({ model, ...request });
  const kinds = [];
  for await (const event of stream) kinds.push(event.type);
  const response = await stream.finalResponse();
  return { response, first: kinds[0], last: kinds.at(-1) };
}

await tell({
  async response() {
    return said(await client.responses.create({ model, input: question }));
  },

  async createdStream() {
    let text = '';
    let number = 0;
    let ordered = true;
    let last;
    for await (const event of await client.responses.create({ model, input: question, stream: true })) {
      ordered &&= event.sequence_number === number++;
      if (event.type === 'response.output_text.delta') text += event.delta;
      last = event;
    }
    return { text, ordered, last: last.type, sameText: last.response.output[0].content[0].text === text };
  },

  async strictStream() {
    const { response, first, last } = await strictly({ input: question });
    return { ...said(response), first, last };
  },

  async toolRoundTrip() {
    const request = { model, tools: [responsesTool], store: false };
    const first = await client.responses.create({ ...request, input: toolQuestion });
    const calls = callsOf(first);
    const input = [...toolQuestion, ...first.output, ...resultsOf(calls)];
    const second = await client.responses.create({ ...request, input });
    return {
      calls: calls.map((call) => [call.name, Object.keys(JSON.parse(call.arguments))]),
      text: second.output_text,
    };
  },

  async streamedToolRoundTrip() {
    const request = { tools: [responsesTool], store: false };
    const first = await strictly({ ...request, input: toolQuestion });
    const calls = callsOf(first.response);
    const input = [...toolQuestion, ...calls, ...resultsOf(calls)];
    const second = await strictly({ ...request, input });
    return {
      calls: calls.map((call) => [call.name, Object.keys(JSON.parse(call.arguments))]),
      text: second.response.output_text,
    };
  },

  async reasoning() {
    const { response } = await strictly({ input: '[reason] Hi', reasoning: { effort: 'low' } });
    return { items: response.output.map((item) => item.type), text: response.output_text };
  },

  async structured() {
    const text = { format: zodTextFormat(City, 'city') };
    const response = await client.responses.parse({ model, input: 'A city', text });
    return response.output_parsed;
  },

  async incomplete() {
    const response = await client.responses.create({ model, input: '[size=4000]', max_output_tokens: 16 });
    return { status: response.status, reason: response.incomplete_details.reason };
  },

  async chat() {
    const messages = [{ role: 'user', content: question }];
    return completed(await client.chat.completions.create({ model, messages }));
  },

  async chatStream() {
    const messages = [{ role: 'user', content: question }];
    const stream = client.chat.completions.stream({
      model,
      messages,
      stream_options: { include_usage: true },
    });
    return completed(await stream.finalChatCompletion());
  },

  async chatTools() {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model,
      messages: toolQuestion,
      tools: [
        {
          ...chatTool,
          function: {
            ...chatTool.function,
            parse: JSON.parse,
            function: (given) => `sunny ${asked.push(Object.keys(given)) - 1}`,
          },
        },
      ],
    });
    return { asked, text: await runner.finalContent() };
  },

  async streamedChatTools() {
    const stream = client.chat.completions.stream({ model, messages: toolQuestion, tools: [chatTool] });
    const completion = await stream.finalChatCompletion();
    const { message, finish_reason: finish } = completion.choices[0];
    return {
      finish,
      calls: message.tool_calls.map((call) => [
        call.function.name,
        Object.keys(JSON.parse(call.function.arguments)),
      ]),
    };
  },

  async structuredChat() {
    const completion = await client.chat.completions.parse({
      model,
      messages: [{ role: 'user', content: 'A city' }],
      response_format: zodResponseFormat(City, 'city'),
    });
    return completion.choices[0].message.parsed;
  },

  async models() {
    const ids = [];
    for await (const listed of client.models.list()) ids.push(listed.id);
    return ids.includes(model);
  },

  async wrongKey() {
    const stranger = client.withOptions({ apiKey: 'tg_live_wrong' });
    return failure(stranger.responses.create({ model, input: question }), 'status', 'code');
  },

  async unknownModel() {
    const asked = client.responses.create({ model: 'nothing', input: question });
    const error = await failure(asked, 'status', 'code', 'param', 'requestID');
    return { ...error, requestID: error.requestID.startsWith('req_') };
  },

  async wrongParameter() {
    const asked = client.responses.create({ model, input: question, previous_response_id: 'resp_1' });
    return failure(asked, 'status', 'code', 'param');
  },

  async failingStream() {
    const stream = await client.responses.create({ model: failingModel, input: '[chunks=9]', stream: true });
    let last;
    for await (const event of stream) last = event;
    return { last: last.type, status: last.response.status, code: last.response.error.code };
  },

  async failingStrictStream() {
    const stream = client.responses.stream({ model: failingModel, input: '[chunks=9]' });
    const response = await stream.finalResponse();
    return { status: response.status, code: response.error.code };
  },

  async failingChatStream() {
    const messages = [{ role: 'user', content: '[chunks=9]' }];
    const stream = await client.chat.completions.create({ model: failingModel, messages, stream: true });
    let chunks = 0;
    const read = async () => {
      for await (const chunk of stream) chunks += chunk.choices.length;
    };
    return { ...(await failure(read())), afterOutput: chunks > 0 };
  },

  async blockedStream() {
    const stream = client.responses.stream({ model: blockedModel, input: '[chunks=9]' });
    const response = await stream.finalResponse();
    return { status: response.status, reason: response.incomplete_details.reason, text: response.output_text };
  },

  async blockedChatStream() {
    const messages = [{ role: 'user', content: '[chunks=9]' }];
    const completion = await client.chat.completions.stream({ model: blockedModel, messages }).finalChatCompletion();
    return { finish: completion.choices[0].finish_reason, text: completion.choices[0].message.content };
  },
});
