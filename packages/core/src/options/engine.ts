import { Type } from 'typebox';
import { count, option } from './option.ts';

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
    'Let the threads of a forward pass spin while they wait: small batches are faster, an idle worker burns its cores.',
  ),
  maxBatchTokens: option(
    'MAX_BATCH_TOKENS',
    count(0, 10_000_000),
    0,
    'Token budget of one forward pass: longest text × texts, padding included; 0 chooses for the device.',
  ),
  maxBulkBatchMs: option(
    'MAX_BULK_BATCH_MS',
    count(1, 600_000),
    500,
    'What a bulk batch may take, and so about how long a request waits for the device; lowers a budget that is not set.',
  ),
} as const;
