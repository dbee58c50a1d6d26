// What the official JavaScript SDK sees of a stack, as one JSON object on stdout. Usage: node sdk.mjs BASE_URL.
// ../sdk_session.py is its twin.

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

// The model name says which step of the session a request is.
function asking(step, text = 'What are the weather and the time in Oslo?') {
  return { model: `try-${step}`, max_tokens: 200, messages: [{ role: 'user', content: text }] };
}

// Ask, answer every call, ask again; `turn` gets a message in one way or another.
async function toolRoundTrip(step, turn) {
  const body = { ...asking(step), tools: TOOLS };
  const first = await turn(body);
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
  return [first, await turn({ ...body, messages })];
}

const kinds = [];
async function streamed(body) {
  const stream = client.messages.stream(body).on('streamEvent', (event) => kinds.push(event.type));
  return stream.finalMessage();
}

async function events(body) {
  const seen = [];
  for await (const event of await client.messages.create({ ...body, stream: true })) seen.push(event);
  return seen;
}

function trip(step) {
  return { ...asking(step, 'Plan a trip'), output_config: { format: zodOutputFormat(Trip) } };
}

// Let the SDK run the tools until the model is done.
async function runner(step, stream) {
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
  for await (const turn of client.beta.messages.toolRunner({ ...asking(step), tools, stream })) {
    messages.push(stream ? await turn.finalMessage() : turn);
  }
  return { ran, messages };
}

async function broken() {
  try {
    await events({ ...asking('x'), model: 'up/error-chunk' });
  } catch (error) {
    return { class: error.constructor.name, body: error.error };
  }
  return null;
}

const report = {
  version: VERSION,
  has_threads: 'thread' in client.beta.messages,
  create: await client.messages.create(asking('create', 'Hello')),
  events: await events({ ...asking('events'), tools: TOOLS }),
  events_over_pings: await events({ ...asking('x'), model: 'up/pausing' }),
  tools: await toolRoundTrip('tools', (body) => client.messages.create(body)),
  tools_stream: await toolRoundTrip('tools-stream', streamed),
  kinds,
  parse: (await client.messages.parse(trip('parse'))).parsed_output,
  parse_stream: (await client.messages.stream(trip('parse-stream')).finalMessage()).parsed_output,
  runner: await runner('runner', false),
  runner_stream: await runner('runner-stream', true),
  broken: await broken(),
};
process.stdout.write(JSON.stringify(report));
