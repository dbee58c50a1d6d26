// Runs a session of the official JavaScript SDK and prints its results as JSON. Usage: node sdk.mjs BASE_URL.
// ../sdk_session.py does the same.

import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { VERSION } from '@anthropic-ai/sdk/version';
import { z } from 'zod';

const client = new Anthropic({ baseURL: process.argv[2], apiKey: 'none', maxRetries: 0 });

const TOOLS = [
  {
    name: 'get_weather',
    description: 'Get the weather for a city',
    input_schema: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city', 'days'],
    },
  },
  {
    name: 'get_time',
    description: 'Get the time in a city',
    input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
];
const RESULTS = {
  get_weather: ({ city, days }) => `sunny for ${days} days in ${city}`,
  get_time: ({ city }) => `noon in ${city}`,
};
const Trip = z.object({
  city: z.string(),
  days: z.number().int(),
  stops: z.array(z.object({ place: z.string(), kind: z.enum(['museum', 'park']) })),
  guided: z.boolean().nullable(),
});

// Returns the fields of a request; the model name is the step of the session.
function requestFields(step, text = 'What are the weather and the time in Oslo?') {
  return { model: `try-${step}`, max_tokens: 200, messages: [{ role: 'user', content: text }] };
}

// Sends a question, then the results of its tool calls; `send` returns the message for a request.
async function toolRoundTrip(step, send) {
  const body = { ...requestFields(step), tools: TOOLS };
  const first = await send(body);
  const calls = first.content.filter((block) => block.type === 'tool_use');
  const results = calls.map((call) => ({
    type: 'tool_result',
    tool_use_id: call.id,
    content: RESULTS[call.name](call.input),
  }));
  const messages = [
    ...body.messages,
    { role: 'assistant', content: first.content },
    { role: 'user', content: results },
  ];
  return [first, await send({ ...body, messages })];
}

const kinds = [];
async function streamMessage(body) {
  const stream = client.messages.stream(body).on('streamEvent', (event) => kinds.push(event.type));
  return stream.finalMessage();
}

async function events(body) {
  const read = [];
  for await (const event of await client.messages.create({ ...body, stream: true })) read.push(event);
  return read;
}

function tripRequest(step) {
  return { ...requestFields(step, 'Plan a trip'), output_config: { format: zodOutputFormat(Trip) } };
}

// Lets the SDK run the tools until the model calls none.
async function runTools(step, stream) {
  const ran = [];
  const tools = [
    betaZodTool({
      name: 'get_weather',
      description: 'Get the weather for a city',
      inputSchema: z.object({ city: z.string(), days: z.number().int() }),
      run: ({ city, days }) => {
        ran.push(['get_weather', city, days]);
        return RESULTS.get_weather({ city, days });
      },
    }),
    betaZodTool({
      name: 'get_time',
      description: 'Get the time in a city',
      inputSchema: z.object({ city: z.string() }),
      run: ({ city }) => {
        ran.push(['get_time', city]);
        return RESULTS.get_time({ city });
      },
    }),
  ];
  const messages = [];
  for await (const turn of client.beta.messages.toolRunner({ ...requestFields(step), tools, stream })) {
    messages.push(stream ? await turn.finalMessage() : turn);
  }
  return { ran, messages };
}

async function streamError() {
  try {
    await events({ ...requestFields('x'), model: 'up/error-chunk' });
  } catch (error) {
    return { class: error.constructor.name, body: error.error };
  }
  return null;
}

const report = {
  version: VERSION,
  has_threads: 'thread' in client.beta.messages,
  create: await client.messages.create(requestFields('create', 'Hello')),
  events: await events({ ...requestFields('events'), tools: TOOLS }),
  events_over_pings: await events({ ...requestFields('x'), model: 'up/pausing' }),
  tools: await toolRoundTrip('tools', (body) => client.messages.create(body)),
  tools_stream: await toolRoundTrip('tools-stream', streamMessage),
  kinds,
  parse: (await client.messages.parse(tripRequest('parse'))).parsed_output,
  parse_stream: (await client.messages.stream(tripRequest('parse-stream')).finalMessage()).parsed_output,
  runner: await runTools('runner', false),
  runner_stream: await runTools('runner-stream', true),
  broken: await streamError(),
};
process.stdout.write(JSON.stringify(report));
