/** Which of onnxruntime's execution providers to try, for a `DEVICE`. Pure. */
import { TrivecError } from '../errors.ts';

export interface Provider {
  /** As shown to users: `cpu`, `cuda:0`, `webgpu`. */
  device: string;
  name: string;
  deviceId?: number;
}

/**
 * In order of preference. `auto` leaves WebGPU out: it also runs on software adapters, where the CPU is faster.
 * Throws `invalid_config` for a device that is not known.
 */
export function providersFor(device: string): Provider[] {
  if (device === 'auto') return [...providersFor('cuda'), ...providersFor('cpu')];
  const [name = '', id] = device.split(':');
  if (name === 'cpu' || name === 'webgpu') return [{ device: name, name }];
  if (name === 'cuda' || name === 'tensorrt') {
    const deviceId = Number(id ?? 0);
    return [{ device: `${name}:${deviceId}`, name, deviceId }];
  }
  throw new TrivecError(
    'invalid_config',
    `DEVICE: ${device} is not auto, cpu, cuda[:n], webgpu or tensorrt.`,
    {
      param: 'DEVICE',
    },
  );
}
