/** How a model's session is opened; the benches open theirs the same way. Pure. */
import type { InferenceSession } from 'onnxruntime-node';
import type { Provider } from './providers.ts';

export interface SessionChoices {
  provider: Provider;
  intraOpThreads: number;
  /** Threads spin on after a run for as long as onnxruntime lets them, in case the next comes. */
  spinWhenIdle: boolean;
  /** Where a model that is given as bytes finds its data files. */
  dataFolder?: string;
}

/**
 * On a CPU onnxruntime's fused operators are slower than their parts. 1024 rows, one thread: adding and normalising
 * 1024 channels 5.3 ms fused and about 1 ms apart, adding a bias to 4096 and GELU 6.0 and about 4.
 */
const SLOWER_WHEN_FUSED_ON_CPU = ['SkipLayerNormFusion', 'BiasGeluFusion'];

/**
 * Long enough for the gaps between two operators: threads that sleep there take int8 12 to 19 % longer. Short enough for
 * an idle worker, where onnxruntime's own bound burns 32 ms after each run. Where another process keeps one of two cores
 * busy, spinning costs more than it gives: 9 % at 0.1 ms, 17 % at 1 ms.
 */
const SPIN_US = 100;

export function sessionOptions(choices: SessionChoices): InferenceSession.SessionOptions {
  const { name, deviceId } = choices.provider;
  return {
    executionProviders: [deviceId === undefined ? name : cudaOptions(name, deviceId)],
    // The arena keeps its peak for ever.
    enableCpuMemArena: false,
    executionMode: 'sequential',
    intraOpNumThreads: choices.intraOpThreads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4,
    extra: {
      session: {
        intra_op: {
          allow_spinning: '1',
          ...(!choices.spinWhenIdle && { spin_duration_us: String(SPIN_US) }),
        },
        ...(choices.dataFolder !== undefined && {
          model_external_initializers_file_folder_path: choices.dataFolder,
        }),
      },
      ...(name === 'cpu' && {
        optimization: { disable_specified_optimizers: SLOWER_WHEN_FUSED_ON_CPU.join(';') },
      }),
    },
  };
}

function cudaOptions(name: string, deviceId: number): InferenceSession.ExecutionProviderConfig {
  return name === 'tensorrt' ? { name: 'tensorrt', deviceId } : { name: 'cuda', deviceId };
}
