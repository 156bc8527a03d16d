import { lookup } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { Webhook } from 'standardwebhooks';
import { Agent, buildConnector, request } from 'undici';

export interface WebhookMessage {
  url: string;
  /** Base64. */
  secret: string;
  /** The same for every attempt of one message: receivers tell repetitions by it. */
  id: string;
  body: string;
}

export interface WebhookSenderOptions {
  /** Also to private and loopback addresses. */
  allowPrivate: boolean;
}

const TIMEOUT_MS = 10_000;
/** What is read of an answer, to keep its connection. */
const ANSWER_BYTES = 64 * 1024;

/**
 * Posts messages signed by the Standard Webhooks convention. The address is judged where the connection is made, so
 * a name that changes its address between two look-ups gains nothing; redirects are not followed.
 */
export class WebhookSender {
  private readonly agent: Agent;

  constructor({ allowPrivate }: WebhookSenderOptions) {
    this.agent = new Agent({
      connect: allowPrivate ? { timeout: TIMEOUT_MS } : publicConnector(),
      connections: 4,
      keepAliveTimeout: 1_000,
    });
  }

  /** Resolves when the receiver took it (2xx). Rejects with a reason that can be shown. */
  async send({ url, secret, id, body }: WebhookMessage, signal?: AbortSignal): Promise<void> {
    const now = new Date();
    const answer = await request(url, {
      method: 'POST',
      dispatcher: this.agent,
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      signal: AbortSignal.any([AbortSignal.timeout(TIMEOUT_MS), ...(signal ? [signal] : [])]),
      headers: {
        'content-type': 'application/json',
        'user-agent': 'trivec',
        'webhook-id': id,
        'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
        'webhook-signature': new Webhook(secret).sign(id, now, body),
      },
      body,
    });
    await answer.body.dump({ limit: ANSWER_BYTES }).catch(() => undefined);
    const { statusCode } = answer;
    if (statusCode >= 300 && statusCode < 400)
      throw new Error(`answered ${statusCode}; redirects are not followed`);
    if (statusCode < 200 || statusCode > 299) throw new Error(`answered ${statusCode}`);
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }
}

/** Whether an IP address is one of the public internet. */
export function isPublicAddress(address: string): boolean {
  return ipaddr.isValid(address) && ipaddr.process(address).range() === 'unicast';
}

/** Whether a URL names a private address as it stands, without asking anybody. */
export function namesPrivateAddress(url: string): boolean {
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) !== 0) return !isPublicAddress(host);
  return host === 'localhost' || host.endsWith('.localhost');
}

function publicConnector(): buildConnector.connector {
  const connect = buildConnector({ timeout: TIMEOUT_MS, lookup: publicLookup });
  return (options, callback) => {
    // No look-up is made for an address.
    const host = options.hostname.replace(/^\[|\]$/g, '');
    if (isIP(host) !== 0 && !isPublicAddress(host)) callback(refusal(), null);
    else connect(options, callback);
  };
}

/** As `dns.lookup`; a name that has a private address among its own is refused as a whole. */
const publicLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) callback(error, '', 0);
    else if (addresses.length === 0 || !addresses.every(({ address }) => isPublicAddress(address)))
      callback(refusal(), '', 0);
    else if (options.all) callback(null, addresses);
    else callback(null, addresses[0]!.address, addresses[0]!.family);
  });
};

function refusal(): Error {
  return new Error('the address is private; ALLOW_PRIVATE_WEBHOOKS would allow it');
}
