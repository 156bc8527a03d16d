import type { Config } from '../config.ts';
import { TrivecError } from '../errors.ts';
import { idempotencyDigest, withDigest } from '../ledger/idempotency.ts';
import type { LedgerStore } from '../ledger/ledgerStore.ts';
import type { QdrantSinks } from '../sinks/qdrant/open.ts';
import type { BlobStore } from '../storage/blobStore.ts';
import type { Logger } from '../telemetry/logger.ts';
import { namesPrivateAddress } from '../webhooks/sender.ts';
import type { ReadRules } from './documentReader.ts';
import { resolveFields } from './fields.ts';
import { type IntakeLimits, readIntake } from './intakeReader.ts';
import { inputPrefix, newJobId } from './keys.ts';
import { resolveOptions } from './options.ts';
import { paramOf } from './place.ts';
import type { JobOptions, JobRecord, WebhookState } from './records.ts';
import { RequestHash } from './requestHash.ts';
import type { DocumentSource, RequestedOptions, SubmitInput } from './serviceTypes.ts';
import { ShardCutter } from './shardCutter.ts';
import { makeSink, planSink } from './sinkPlan.ts';
import { SkippedWriter } from './skipped.ts';
import { UploadWriter } from './uploadWriter.ts';
import { type RequestedWebhook, resolveWebhook } from './webhook.ts';

export interface IntakeDeps {
  ledger: LedgerStore;
  storage: BlobStore;
  config: IntakeLimits &
    Pick<Config, 'shardMaxDocuments' | 'shardMaxBytes'> &
    Partial<Pick<Config, 'allowPrivateWebhooks' | 'jobRetentionMs'>>;
  logger: Logger;
  /** What a `destination` needs. */
  qdrant?: QdrantSinks;
}

export interface IntakeInput extends Omit<SubmitInput, 'source'> {
  source: DocumentSource;
  /** Stands for documents that the request only names: what two requests are compared by instead of them. */
  identity?: string;
}

/** `again`: the idempotency key had a job already, made by the same request. */
export interface Submitted {
  job: JobRecord;
  again: boolean;
}

/**
 * Reads, checks, stores as shards, and commits by one ledger write. Memory is bounded whatever the size:
 * the body is not read on while storage is slow. Whatever fails, nothing stays: neither blob nor record.
 * The job still has to be enqueued; should the process die before, the reconciler does it.
 */
export async function submitJob(deps: IntakeDeps, input: IntakeInput): Promise<Submitted> {
  const options = resolveOptions(input.options, input.model);
  const rules = readRules(input.options);
  const webhook = input.options.webhook && acceptWebhook(input.options.webhook, deps.config);
  const keyed = input.idempotencyKey === undefined ? undefined : newKeyed(input, options, rules);
  const earlier = keyed && (await deps.ledger.readKeyedJob(keyed.digest));
  if (earlier !== undefined) return repeated(deps, input, rules, keyed!, earlier);
  const newId = newJobId(Date.now());
  const id = keyed === undefined ? newId : withDigest(newId, keyed.digest);
  const model = pinnedModel(input, options);
  const plan =
    options.destination &&
    (await planSink(deps.qdrant, options.destination, { jobId: id, outputs: options.outputs, ...model }));
  const writer = new UploadWriter(deps, id);
  let undoSink: (() => Promise<void>) | undefined;
  try {
    const skipped = await upload(
      deps,
      input,
      rules,
      writer,
      new SkippedWriter(deps.storage, id),
      keyed?.hash,
    );
    const { documents, textBytes, shards } = await writer.finish();
    const made = plan && (await makeSink(deps.qdrant, plan));
    undoSink = made?.undo;
    const job: JobRecord = {
      id,
      version: 1,
      owner: input.owner,
      status: 'queued',
      model,
      options: withRetention(options, deps.config),
      counts: { documents, embedded: 0, written: 0, failed: 0 },
      tokens: 0,
      truncated: 0,
      textBytes: { total: textBytes, done: 0 },
      shards: { total: shards, stored: 0, written: 0 },
      ...skipped,
      ...(made && { sink: { ...made.state, run: 1 } }),
      ...(webhook && { webhook }),
      ...(keyed !== undefined && { idempotency: { digest: keyed.digest, request: keyed.hash.digest() } }),
      // Not when the upload began: a list takes an old entry that has no job yet for a leftover.
      createdAtMs: Date.now(),
    };
    const holder = await commit(deps, job);
    if (holder === id) return { job, again: false };
    // Two came at once, and the other was first.
    const winner = await deps.ledger.readJob(holder);
    await removeUpload(deps, id, writer, undoSink);
    if (winner === undefined)
      throw new TrivecError('idempotency_conflict', 'The job of this Idempotency-Key was just deleted.', {
        param: 'idempotency-key',
      });
    return sameRequest(winner, job.idempotency!.request);
  } catch (error) {
    // The sweep removes what proves to belong to no job.
    if (error instanceof CommitUnknown) throw error.cause;
    await removeUpload(deps, id, writer, undoSink);
    throw error;
  }
}

/**
 * Where the ledger fails in the middle of the commit, the job may be there all the same, and a repetition of the
 * request may have been answered with it: only the ledger knows. Nothing must be removed while it does not say.
 */
class CommitUnknown extends Error {
  constructor(cause: unknown) {
    super('the ledger does not say whether the job was committed', { cause });
  }
}

async function commit({ ledger, logger }: IntakeDeps, job: JobRecord): Promise<string> {
  try {
    return await ledger.commitJob(job);
  } catch (error) {
    logger.warn(
      { err: error, jobId: job.id },
      'the commit of a job was not answered: looking whether it is there',
    );
    const found = await ledger.readJob(job.id).catch(() => {
      throw new CommitUnknown(error);
    });
    if (found === undefined) throw error;
    return job.id;
  }
}

/** Throws `invalid_request`. A name that leads to a private address is refused where the connection is made. */
function acceptWebhook(requested: RequestedWebhook, config: IntakeDeps['config']): WebhookState {
  const webhook = resolveWebhook(requested);
  if (config.allowPrivateWebhooks !== true && namesPrivateAddress(webhook.url))
    throw new TrivecError(
      'invalid_request',
      'webhook.url is a private address; ALLOW_PRIVATE_WEBHOOKS would allow it.',
      { param: 'webhook.url' },
    );
  return webhook;
}

function withRetention(options: JobOptions, { jobRetentionMs = 0 }: IntakeDeps['config']): JobOptions {
  if (options.retentionMs !== undefined || jobRetentionMs === 0) return options;
  return { ...options, retentionMs: jobRetentionMs };
}

/** What of the model a job keeps. */
export function pinnedModel(
  { model }: Pick<SubmitInput, 'model'>,
  { outputs, dimensions }: JobOptions,
): JobRecord['model'] {
  const { name, fingerprint, denseDims, colbertDims } = model;
  return {
    name,
    fingerprint,
    ...(outputs.includes('dense') && { denseDims: dimensions ?? denseDims }),
    ...(outputs.includes('colbert') && { colbertDims }),
  };
}

interface Keyed {
  digest: string;
  hash: RequestHash;
}

function newKeyed(input: IntakeInput, options: JobOptions, rules: ReadRules): Keyed {
  const { owner, model, identity } = input;
  return {
    digest: idempotencyDigest(owner, input.idempotencyKey!),
    hash: new RequestHash({ model: model.name, options, rules, identity, webhook: input.options.webhook }),
  };
}

/** The documents are read once more, only to tell whether they are the same. */
async function repeated(
  deps: IntakeDeps,
  input: IntakeInput,
  rules: ReadRules,
  { hash }: Keyed,
  earlier: JobRecord,
): Promise<Submitted> {
  // A source on the server is named, not sent: the same name is the same request.
  if (input.identity === undefined)
    await readIntake(
      input.source,
      deps.config,
      rules,
      {
        document: ({ document }) => {
          hash.document(document);
          return undefined;
        },
        refused: ({ error, place }) => {
          hash.refused(paramOf(place), error.code);
          return undefined;
        },
      },
      input.signal,
    );
  return sameRequest(earlier, hash.digest());
}

function sameRequest(job: JobRecord, request: string): Submitted {
  if (job.idempotency?.request === request) return { job, again: true };
  throw new TrivecError(
    'idempotency_conflict',
    `The Idempotency-Key was used for job ${job.id}, with other options or documents. A new request needs a new key.`,
    { param: 'idempotency-key' },
  );
}

/** How the lines are to be read, as the client wants it. */
export function readRules({ fields, onInvalid }: RequestedOptions): ReadRules {
  return {
    ...(fields !== undefined && { fields: resolveFields(fields) }),
    skipInvalid: onInvalid === 'skip',
  };
}

async function upload(
  { config }: IntakeDeps,
  input: IntakeInput,
  rules: ReadRules,
  writer: UploadWriter,
  skippedWriter: SkippedWriter,
  wholeHash: RequestHash | undefined,
): Promise<Pick<JobRecord, 'errors' | 'skipped'>> {
  const cutter = new ShardCutter({
    maxDocuments: config.shardMaxDocuments,
    maxTextBytes: config.shardMaxBytes,
  });
  const hash = input.identity === undefined ? wholeHash : undefined;
  await readIntake(
    input.source,
    config,
    rules,
    {
      document: ({ document }) => {
        const full = cutter.add(document);
        hash?.document(document);
        return full && writer.write(full);
      },
      refused: (refused, id) => {
        hash?.refused(paramOf(refused.place), refused.error.code);
        return skippedWriter.add(refused, id);
      },
    },
    input.signal,
  );
  const rest = cutter.rest();
  if (rest !== undefined) await writer.write(rest);
  const skipped = await skippedWriter.finish();
  return { errors: skippedWriter.first, ...(skipped.lines > 0 && { skipped }) };
}

/**
 * The ledger first: where it does not answer, the commit may have gone through, and then the blobs must stay.
 * What is left behind like that, the sweep removes.
 */
async function removeUpload(
  deps: IntakeDeps,
  jobId: string,
  writer: UploadWriter,
  undoSink?: () => Promise<void>,
): Promise<void> {
  await writer.settle();
  try {
    await deps.ledger.deleteJob(jobId);
    await undoSink?.();
    await deps.storage.deletePrefix(inputPrefix(jobId));
  } catch (error) {
    deps.logger.warn({ err: error, jobId }, 'a refused upload is left for the sweep to remove');
  }
}
