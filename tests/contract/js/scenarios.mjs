// Runs scenarios one after the other and prints one JSON object: what each of them told.

const { TOLLGATE_BASE_URL, TOLLGATE_API_KEY, TOLLGATE_MODEL, TOLLGATE_FAILING_MODEL, TOLLGATE_BLOCKED_MODEL } = process.env;

export const address = { baseURL: TOLLGATE_BASE_URL, apiKey: TOLLGATE_API_KEY };
export const model = TOLLGATE_MODEL;
export const failingModel = TOLLGATE_FAILING_MODEL;
export const blockedModel = TOLLGATE_BLOCKED_MODEL;

export const citySchema = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};

export async function tell(scenarios) {
  const told = {};
  for (const [name, scenario] of Object.entries(scenarios)) {
    try {
      told[name] = await scenario();
    } catch (error) {
      told[name] = { unexpected: String(error), stack: error?.stack };
    }
  }
  console.log(JSON.stringify(told));
}

// The error a promise ends with, as the fields named.
export async function failure(promise, ...fields) {
  const error = await promise.then(
    () => null,
    (caught) => caught,
  );
  if (error === null) return { name: 'no error' };
  return { name: error.constructor.name, ...Object.fromEntries(fields.map((f) => [f, error[f]])) };
}
