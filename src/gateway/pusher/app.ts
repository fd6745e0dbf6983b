/** The app that Pusher clients name: its id, key and secret, and signatures with the secret. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Settings } from '../../config/settings.ts';

type PusherSettings = Pick<Settings, 'SNO_PUSHER_APP_ID' | 'SNO_PUSHER_KEY' | 'SNO_PUSHER_SECRET'>;

/** An HMAC-SHA256 in hexadecimal, as in each of Pusher's signatures. */
const SIGNATURE = /^[0-9a-f]{64}$/i;

export class PusherApp {
  readonly id: string;
  readonly key: string;
  readonly #secret: string;

  constructor(id: string, key: string, secret: string) {
    this.id = id;
    this.key = key;
    this.#secret = secret;
  }

  /** Undefined: the settings name no app. */
  static of(settings: PusherSettings): PusherApp | undefined {
    const { SNO_PUSHER_APP_ID: id, SNO_PUSHER_KEY: key, SNO_PUSHER_SECRET: secret } = settings;
    return id === undefined || key === undefined || secret === undefined ? undefined : new PusherApp(id, key, secret);
  }

  /** Whether the secret made this signature. Compares in constant time. */
  hasSigned(text: string, signature: string): boolean {
    return SIGNATURE.test(signature) && timingSafeEqual(Buffer.from(signature, 'hex'), this.#hmac(text));
  }

  /** Returns the `auth` that allows a client what the text names. */
  authOf(text: string): string {
    return `${this.key}:${this.#hmac(text).toString('hex')}`;
  }

  /** Whether a client's `auth` is valid for this text. */
  allows(auth: string, text: string): boolean {
    const prefix = `${this.key}:`;
    return auth.startsWith(prefix) && this.hasSigned(text, auth.slice(prefix.length));
  }

  #hmac(text: string): Buffer {
    return createHmac('sha256', this.#secret).update(text).digest();
  }
}

/** The text that is signed for a subscription. `channelData`: as the client sends it. */
export function subscriptionText(socketId: string, name: string, channelData: string | undefined): string {
  return channelData === undefined ? `${socketId}:${name}` : `${socketId}:${name}:${channelData}`;
}

/** The text that is signed for a sign-in. */
export function userText(socketId: string, userData: string): string {
  return `${socketId}::user::${userData}`;
}
