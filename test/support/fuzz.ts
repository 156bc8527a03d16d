import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import type { apiRig } from './apiRig.ts';

type Rig = Awaited<ReturnType<typeof apiRig>>;

interface Schema {
  type?: string;
  anyOf?: Schema[];
  enum?: unknown[];
  const?: unknown;
  items?: Schema;
  properties?: Record<string, Schema>;
  required?: string[];
  minimum?: number;
  maximum?: number;
}

const HANG_MS = 20_000;

export interface FuzzTarget {
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  body: Schema | undefined;
}

/** Every route of the OpenAPI document, with the schema of its JSON body. */
export function fuzzTargets(document: { paths: Record<string, Record<string, unknown>> }): FuzzTarget[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => {
      const { requestBody } = operation as {
        requestBody?: { content?: Record<string, { schema?: Schema }> };
      };
      return {
        method: method.toUpperCase() as FuzzTarget['method'],
        path,
        body: requestBody?.content?.['application/json']?.schema,
      };
    }),
  );
}

/** Words, strange text, and what looks like something else. */
const texts = fc.oneof(
  fc.lorem({ maxCount: 12 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom('', ' ', '\u0000', '\ud800', '__proto__', 'a'.repeat(500), '../../etc/passwd', '0'),
);
const anything = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }).map((value) => value as unknown),
  fc.constantFrom<unknown>(null, -1, 1e308, 0.5, true, [], {}, [[]], 'fake', 2 ** 53),
);

/** What the schema allows, and now and then what it does not, at every depth. */
function valueFor(schema: Schema | undefined): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 20, arbitrary: allowed(schema) }, { weight: 1, arbitrary: anything });
}

function allowed(schema: Schema | undefined): fc.Arbitrary<unknown> {
  if (schema === undefined) return anything;
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valueFor));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  switch (schema.type) {
    case 'string':
      return texts;
    case 'integer':
      return fc.integer({ min: schema.minimum ?? -5, max: Math.min(schema.maximum ?? 5000, 2 ** 31 - 1) });
    case 'number':
      return fc.double({ min: schema.minimum ?? -10, max: schema.maximum ?? 10, noNaN: true });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valueFor(schema.items), { maxLength: 6 });
    case 'object':
      return fc.record(
        Object.fromEntries(
          Object.entries(schema.properties ?? {}).map(([name, one]) => [name, valueFor(one)]),
        ),
        { requiredKeys: (schema.required ?? []).filter((name) => name in (schema.properties ?? {})) },
      );
    default:
      return anything;
  }
}

/** As much of a body that is not JSON as a client may get wrong. */
const rawBodies = fc.oneof(
  fc.string(),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
);
const pathParts = fc.oneof(
  fc.constantFrom('nope', '%2e%2e', '0', 'a'.repeat(300)),
  fc.webSegment().filter((part) => part !== '' && part !== '.' && part !== '..'),
);

/**
 * `runs` requests to one route: never a 500, and every answer is one that the document knows (the rig checks it).
 * What is not answered within HANG_MS counts as a hang.
 */
export async function fuzzRoute(rig: Rig, target: FuzzTarget, runs: number, seed?: number): Promise<void> {
  const bodies = target.body === undefined ? fc.constant(undefined) : valueFor(target.body);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        { weight: 19, arbitrary: bodies.map((body) => ({ body, raw: undefined })) },
        {
          weight: target.method === 'POST' ? 1 : 0,
          arbitrary: rawBodies.map((raw) => ({ body: undefined, raw })),
        },
      ),
      pathParts,
      async ({ body, raw }, part) => {
        const url = target.path.replace(/\{\w+\}/g, part);
        const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
        const response = await rig.request({
          method: target.method,
          url,
          ...(payload !== undefined && { payload, headers: { 'content-type': 'application/json' } }),
        });
        // Without a turn of the event loop nothing that a WeakRef has looked at is ever given back.
        await nextTurn();
        assert.ok(response.statusCode < 500, `${response.statusCode} ${response.body}`);
      },
    ),
    { numRuns: runs, timeout: HANG_MS, ...(seed !== undefined && { seed }) },
  );
}

/** The stand-in's ids are word lengths; any id must have a text here. */
export function decodeAnything(rig: Rig): void {
  rig.engine.decode = async (ids) => ids.map((row) => row.map((id) => `#${id}`).join(' '));
}
