import type { Answer } from '../answer.ts';
import type { Call } from '../call.ts';
import type { OwnedStore } from '../owned-store.ts';
import type { Plan } from '../plan.ts';
import { modelNotFound, notFound } from '../refusals.ts';
import { expectedAnswer, expectedTokens, field, list, pieces } from '../text.ts';

interface World {
  models: ReadonlySet<string>;
  owned: OwnedStore;
}

/** Answers as generateContent does to the same text, whole or as events. */
export function createInteraction(call: Call, plan: Plan, { models, owned }: World): Answer {
  const model = String(field(call.json, 'model') ?? '').replace(/^models\//, '');
  if (!models.has(model)) return modelNotFound({ ...call, model });
  const previous = field(call.json, 'previous_interaction_id');
  if (previous !== undefined && owned.get(`interactions/${String(previous)}`, call.project) === undefined)
    return notFound();
  const name = owned.newName('interactions');
  const prompt = inputText(field(call.json, 'input'));
  const text = expectedAnswer(prompt);
  const head = {
    id: name.slice('interactions/'.length),
    object: 'interaction',
    model,
    created: owned.time(),
    updated: owned.time(),
    ...(previous === undefined ? {} : { previous_interaction_id: previous }),
  };
  const input = expectedTokens(prompt);
  const output = expectedTokens(text);
  const whole = {
    ...head,
    status: 'completed',
    steps: [{ type: 'model_output', content: [{ type: 'text', text }] }],
    usage: { total_input_tokens: input, total_output_tokens: output, total_tokens: input + output },
  };
  owned.put(call.project, { ...whole, name });
  if (field(call.json, 'stream') !== true) return { kind: 'json', body: whole };
  return {
    kind: 'stream',
    format: 'sse',
    chunks: [
      { event_type: 'interaction.created', interaction: { ...head, status: 'in_progress' } },
      { event_type: 'step.start', index: 0, step: { type: 'model_output' } },
      ...pieces(text, plan.chunks).map((piece) => ({
        event_type: 'step.delta',
        index: 0,
        delta: { type: 'text', text: piece },
      })),
      { event_type: 'step.stop', index: 0 },
      { event_type: 'interaction.completed', interaction: whole },
    ],
  };
}

export function getInteraction(call: Call, { owned }: World): Answer {
  const interaction = owned.get(call.name, call.project);
  if (interaction === undefined) return notFound();
  const { name: _name, ...body } = interaction;
  return { kind: 'json', body };
}

export function cancelInteraction(call: Call, world: World): Answer {
  const interaction = world.owned.get(call.name, call.project);
  if (interaction !== undefined) world.owned.put(call.project, { ...interaction, status: 'cancelled' });
  return getInteraction(call, world);
}

export function deleteInteraction(call: Call, { owned }: World): Answer {
  if (owned.get(call.name, call.project) === undefined) return notFound();
  owned.delete(call.name ?? '');
  return { kind: 'json', body: {} };
}

/** The input: a text, or contents of which the texts are joined, or steps that have some. */
function inputText(input: unknown): string {
  if (typeof input === 'string') return input;
  const text = field(input, 'text');
  if (typeof text === 'string') return text;
  return [...list(input), ...list(field(input, 'content'))].map(inputText).join('');
}
