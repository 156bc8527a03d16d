import type { Schemas } from '@qdrant/js-client-rest';
import { TrivecError } from '../../errors.ts';
import type { QdrantDestination, VectorNames } from './destination.ts';

/** What a job will send: sizes of the vectors, by output. */
export interface VectorSizes {
  dense?: number;
  colbert?: number;
  sparse: boolean;
}

/** How one named vector must be configured. */
type VectorRule = { kind: 'dense'; size: number } | { kind: 'colbert'; size: number } | { kind: 'sparse' };

export type CollectionRules = ReadonlyMap<string, VectorRule>;

export type CollectionConfig = Schemas['CollectionConfig'];
export type CreateCollection = Schemas['CreateCollection'];

/** Where the points go, and what has to be made first. */
export type CollectionPlan =
  | { action: 'use'; collection: string }
  | { action: 'create'; collection: string }
  /** Built aside under `collection`; `alias`, the name that was asked for, points to it at the end. */
  | { action: 'replace'; collection: string; alias: string };

/** Vectors of the collection by name. Throws `invalid_request` where two outputs have one name, or none is sent. */
export function collectionRules(names: VectorNames, sizes: VectorSizes): CollectionRules {
  const rules = new Map<string, VectorRule>();
  const add = (output: keyof VectorNames, rule: VectorRule) => {
    const name = names[output];
    if (name === undefined) return;
    if (rules.has(name))
      throw new TrivecError(
        'invalid_request',
        `destination.vectors: two outputs are called ${JSON.stringify(name)}.`,
        { param: `destination.vectors.${output}` },
      );
    rules.set(name, rule);
  };
  if (sizes.dense !== undefined) add('dense', { kind: 'dense', size: sizes.dense });
  if (sizes.colbert !== undefined) add('colbert', { kind: 'colbert', size: sizes.colbert });
  if (sizes.sparse) add('sparse', { kind: 'sparse' });
  if (rules.size === 0)
    throw new TrivecError(
      'invalid_request',
      "destination.vectors names none of the job's outputs: there is nothing to send.",
      { param: 'destination.vectors' },
    );
  return rules;
}

/**
 * The body of `PUT /collections/{name}`. ColBERT only re-ranks, so it gets no graph (`m: 0`); the sparse
 * modifier stays none, because the weights are learned and not counts.
 */
export function createBody(rules: CollectionRules): CreateCollection {
  const vectors: Record<string, Schemas['VectorParams']> = {};
  const sparse: Record<string, Schemas['SparseVectorParams']> = {};
  for (const [name, rule] of rules) {
    if (rule.kind === 'sparse') sparse[name] = { index: { on_disk: false } };
    else if (rule.kind === 'dense') vectors[name] = { size: rule.size, distance: 'Cosine' };
    else
      vectors[name] = {
        size: rule.size,
        distance: 'Cosine',
        multivector_config: { comparator: 'max_sim' },
        hnsw_config: { m: 0 },
      };
  }
  return { vectors, ...(Object.keys(sparse).length > 0 ? { sparse_vectors: sparse } : {}) };
}

/** The name under which job `jobId` builds a replacement of `name`. */
function asideName(name: string, jobId: string): string {
  return `${name}__trivec_${jobId}`;
}

/** Whether trivec made `collection` to stand behind the alias `name`. */
export function isAsideOf(collection: string, name: string): boolean {
  return collection.startsWith(`${name}__trivec_`);
}

/**
 * What to do, from what is there. Throws `collection_conflict`, showing both sides, where the collection
 * does not fit, exists although `ifExists` is `fail`, or is missing although `create` is false.
 */
export function planCollection(
  destination: Pick<QdrantDestination, 'collection' | 'create' | 'ifExists'>,
  rules: CollectionRules,
  existing: CollectionConfig | undefined,
  jobId: string,
): CollectionPlan {
  const { collection, create, ifExists } = destination;
  if (ifExists === 'replace')
    return { action: 'replace', collection: asideName(collection, jobId), alias: collection };
  if (existing === undefined) {
    if (create) return { action: 'create', collection };
    throw conflict(`Collection ${collection} does not exist, and destination.create is false.`);
  }
  if (ifExists === 'fail')
    throw conflict(`Collection ${collection} exists already, and destination.ifExists is fail.`);
  const problems = mismatches(rules, existing);
  if (problems.length > 0)
    throw conflict(`Collection ${collection} does not take what this job sends: ${problems.join('; ')}.`);
  return { action: 'use', collection };
}

/** One line for each vector that does not fit: what the job sends, and what the collection has. */
export function mismatches(rules: CollectionRules, existing: CollectionConfig): string[] {
  const has = describeCollection(existing);
  const problems: string[] = [];
  for (const [name, rule] of rules) {
    const wanted = describeRule(rule);
    const found = has.get(name);
    if (found === undefined)
      problems.push(
        `${shown(name)}: the job sends ${wanted}, the collection has no vector of that name (it has ${list(has)})`,
      );
    else if (found !== wanted)
      problems.push(`${shown(name)}: the job sends ${wanted}, the collection has ${found}`);
  }
  return problems;
}

function describeRule(rule: VectorRule): string {
  if (rule.kind === 'sparse') return 'sparse';
  return rule.kind === 'dense' ? `${rule.size} Cosine` : `${rule.size} Cosine multivector max_sim`;
}

function describeCollection({ params }: CollectionConfig): Map<string, string> {
  const described = new Map<string, string>();
  const vectors = (params.vectors ?? {}) as Schemas['VectorParams'] | Record<string, Schemas['VectorParams']>;
  const named = typeof vectors.size === 'number' ? { '': vectors as Schemas['VectorParams'] } : vectors;
  for (const [name, vector] of Object.entries(named as Record<string, Schemas['VectorParams']>)) {
    const comparator = vector.multivector_config?.comparator;
    described.set(
      name,
      `${vector.size} ${vector.distance}${comparator === undefined ? '' : ` multivector ${String(comparator)}`}`,
    );
  }
  for (const [name, sparse] of Object.entries(params.sparse_vectors ?? {})) {
    const modifier = sparse?.modifier;
    const plain = modifier === undefined || modifier === null || modifier === 'none';
    described.set(name, plain ? 'sparse' : `sparse with modifier ${String(modifier)}`);
  }
  return described;
}

function list(described: Map<string, string>): string {
  if (described.size === 0) return 'none';
  return [...described].map(([name, what]) => `${shown(name)}: ${what}`).join(', ');
}

function shown(name: string): string {
  return name === '' ? '(unnamed)' : name;
}

function conflict(message: string): TrivecError {
  return new TrivecError('collection_conflict', message, { param: 'destination' });
}
