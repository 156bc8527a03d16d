import type { Redis } from 'ioredis';

/** A Lua script: runs atomically on the server, on keys of one hash slot. */
export interface RedisScript {
  name: string;
  lua: string;
  /** How many of the arguments are keys; they come first. */
  keys: number;
}

type Argument = string | number | Buffer;

/** Runs a script, sending its text only where the server does not know it yet. */
export function runScript<Reply>(
  redis: Redis,
  script: RedisScript,
  ...args: readonly Argument[]
): Promise<Reply> {
  return invoke<Reply>(redis, script, script.name, args);
}

/** As `runScript`; bulk strings in the reply come as Buffers. */
export function runBinaryScript<Reply>(
  redis: Redis,
  script: RedisScript,
  ...args: readonly Argument[]
): Promise<Reply> {
  return invoke<Reply>(redis, script, `${script.name}Buffer`, args);
}

type Invocable = Record<string, ((...args: readonly Argument[]) => Promise<unknown>) | undefined>;

/** ioredis adds a command's method at run time, which its types can't know. */
function invoke<Reply>(
  redis: Redis,
  script: RedisScript,
  method: string,
  args: readonly Argument[],
): Promise<Reply> {
  const commands = redis as unknown as Invocable;
  if (commands[script.name] === undefined) {
    redis.defineCommand(script.name, { lua: script.lua, numberOfKeys: script.keys });
  }
  return commands[method]!(...args) as Promise<Reply>;
}
