import type { Redis } from 'ioredis';
import { duplicateRedis } from '../backend/redisClient.ts';
import type { Logger } from '../telemetry/logger.ts';

export interface SubscriberOptions {
  redis: Redis;
  logger: Logger;
  channel: string;
  receive(channel: string, bytes: Buffer): void;
  /** What is published from now on, until it is connected again, is lost. */
  lost(): void;
}

/** A connection that hears `channel`, and what else it is subscribed to. Where it cannot subscribe none is left open. */
export async function openSubscriber({
  redis,
  logger,
  channel,
  receive,
  lost,
}: SubscriberOptions): Promise<Redis> {
  const subscriber = duplicateRedis(redis, logger, 'replies', { patient: false });
  subscriber.on('messageBuffer', (name: Buffer, bytes: Buffer) => {
    try {
      receive(name.toString(), bytes);
    } catch (error) {
      // Without its message, which may quote what was sent.
      logger.warn({ reason: (error as Error).name }, 'a message that came over Redis could not be read');
    }
  });
  try {
    await subscriber.subscribe(channel);
  } catch (error) {
    subscriber.disconnect();
    throw error;
  }
  subscriber.on('close', lost);
  return subscriber;
}
