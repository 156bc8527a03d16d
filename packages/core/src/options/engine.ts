import { Type } from 'typebox';
import { count, countOrOff, option } from './option.ts';

/** Room for the special tokens and some words; with less every vector would say the same. */
const MIN_TEXT_TOKENS = 16;

/** Device and batches. */
export const ENGINE_OPTIONS = {
  device: option(
    'DEVICE',
    Type.String({ pattern: '^(auto|cpu|webgpu|tensorrt|cuda(:\\d+)?(,cuda:\\d+)*)$' }),
    'auto',
    'Where the model runs: auto (CUDA where there is one, else the CPU), cpu, cuda, cuda:1, webgpu, tensorrt; several GPUs as cuda:0,cuda:1. One that is named and not there ends the start.',
  ),
  intraOpThreads: option(
    'INTRA_OP_THREADS',
    count(0, 1024),
    0,
    'Threads of one forward pass; 0 takes the physical cores.',
  ),
  intraOpSpinning: option(
    'INTRA_OP_SPINNING',
    Type.Boolean(),
    false,
    'Let the threads of a forward pass spin on for some 30 ms after it, in case the next one comes, instead of 0.1: with few requests a worker burns its cores.',
  ),
  maxBatchTokens: option(
    'MAX_BATCH_TOKENS',
    count(0, 10_000_000),
    0,
    'Token budget of one forward pass: longest text × texts, padding included; 0 finds the best for the model and device by a short measurement at the start, which is kept under DATA_DIR.',
  ),
  maxBatchMemoryBytes: option(
    'MAX_BATCH_MEMORY_BYTES',
    count(0),
    0,
    'Memory that a batch on the CPU may take beside the model, as estimated from the measurement at the start; 0 takes a quarter of what is free then. Not looked at with MAX_BATCH_TOKENS.',
  ),
  maxBulkBatchMs: option(
    'MAX_BULK_BATCH_MS',
    count(1, 600_000),
    500,
    'What a batch may take, as predicted from what batches took, and so about how long a request waits for the device; a single longer text runs all the same. Not looked at with MAX_BATCH_TOKENS.',
  ),
  maxBulkTextTokens: option(
    'MAX_BULK_TEXT_TOKENS',
    countOrOff(MIN_TEXT_TOKENS, 1_000_000),
    0,
    'Texts of jobs are cut to so many tokens, so that no long one keeps requests waiting; 0 leaves them the length of the model.',
  ),
} as const;
