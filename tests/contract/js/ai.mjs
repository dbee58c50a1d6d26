// Runs a session of the Vercel AI SDK and prints its results as JSON. Usage: node ai.mjs BASE_URL.

import { readFileSync } from 'node:fs';
import { createAnthropic } from '@ai-sdk/anthropic';
import { stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const anthropic = createAnthropic({ baseURL: `${process.argv[2]}/v1`, apiKey: 'none' });
const errors = [];
const run = streamText({
  model: anthropic('try-tools'),
  maxRetries: 0,
  maxOutputTokens: 200,
  prompt: 'What are the weather and the time in Oslo?',
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: 'Get the weather for a city',
      inputSchema: z.object({ city: z.string(), days: z.number().int() }),
      execute: ({ city, days }) => `sunny for ${days} days in ${city}`,
    }),
    get_time: tool({
      description: 'Get the time in a city',
      inputSchema: z.object({ city: z.string() }),
      execute: ({ city }) => `noon in ${city}`,
    }),
  },
  onError: ({ error }) => errors.push(String(error)),
});
await run.consumeStream();
const steps = await run.steps;
const usage = await run.usage;
const { version } = JSON.parse(readFileSync(new URL('node_modules/ai/package.json', import.meta.url)));
process.stdout.write(
  JSON.stringify({
    version,
    errors,
    calls: steps.flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input])),
    text: await run.text,
    input_tokens: usage.inputTokens,
    output_tokens: usage.outputTokens,
  }),
);
