/**
 * Names of channels as Pusher clients know them: a prefix, then the name of Snö's channel.
 *
 * - `private-`: the client joins with a signature or a token. Without this prefix, it joins without
 *   a token.
 * - `presence-`: private too, and clients see the members.
 * - `cache-`: the client first receives the rows.
 * - `#server-to-user-7`: the channel of a user that has signed in. Snö's channel is
 *   `server-to-user-7`, with the id percent-encoded.
 *
 * Pusher's server libraries refuse names with characters outside `A-Za-z0-9_=@,.;-`. So a name
 * may also be written in these: `;` for `:`, `,` for `/`, and `=` for `%`. Snö's own names contain
 * no `;`, `,` or `=`.
 */
interface Kind {
  readonly isPrivate: boolean;
  readonly isPresence: boolean;
  /** Whether the client receives the channel's rows first. */
  readonly hasRows: boolean;
}

const PREFIXES = {
  'private-cache-': { isPrivate: true, isPresence: false, hasRows: true },
  'private-': { isPrivate: true, isPresence: false, hasRows: false },
  'presence-cache-': { isPrivate: true, isPresence: true, hasRows: true },
  'presence-': { isPrivate: true, isPresence: true, hasRows: false },
  'cache-': { isPrivate: false, isPresence: false, hasRows: true },
  '#': { isPrivate: true, isPresence: false, hasRows: false },
  '': { isPrivate: false, isPresence: false, hasRows: false },
} as const satisfies Record<string, Kind>;

export type Prefix = keyof typeof PREFIXES;

/** Longer prefixes come before those that they begin with. */
export const ALL_PREFIXES = Object.keys(PREFIXES) as readonly Prefix[];

/** Its data is encrypted from one client to another, so Snö has no rows for it. */
const ENCRYPTED = 'private-encrypted-';
const USER = 'server-to-user-';
/** Half of a surrogate pair, which cannot be encoded in UTF-8. */
const LONE_SURROGATE = /\p{Surrogate}/u;

export interface PusherName extends Kind {
  /** As the client knows it. */
  readonly name: string;
  readonly prefix: Prefix;
  /** The name of Snö's channel. */
  readonly channel: string;
  /** Whether it is written in the characters that the server libraries accept. */
  readonly isSpelled: boolean;
  /** The user that must have signed in. Undefined: any client may ask for the channel. */
  readonly user: string | undefined;
}

const SPELLINGS = [
  [';', ':'],
  [',', '/'],
  ['=', '%'],
] as const;

/**
 * Undefined: the channel is encrypted end to end, or the name has nothing behind its prefix, or it
 * is not text.
 */
export function parseName(name: string): PusherName | undefined {
  if (isEncrypted(name) || LONE_SURROGATE.test(name)) return undefined;
  const prefix = ALL_PREFIXES.find((each) => name.startsWith(each)) ?? '';
  let channel = name.slice(prefix.length);
  let user: string | undefined;
  if (prefix === '#') {
    if (!channel.startsWith(USER)) return undefined;
    user = channel.slice(USER.length);
    channel = `${USER}${encoded(user)}`;
  }
  const isSpelled = user === undefined && /[;,=]/.test(channel);
  if (isSpelled) channel = plain(channel);
  if (channel === '' || user === '' || nameOf(prefix, channel, isSpelled) !== name) return undefined;
  return { name, prefix, channel, user, isSpelled, ...PREFIXES[prefix] };
}

/** Whether clients encrypt what is sent to the channel. */
export function isEncrypted(name: string): boolean {
  return name.startsWith(ENCRYPTED);
}

/** The name that a client with this prefix knows. */
export function nameOf(prefix: Prefix, channel: string, isSpelled: boolean): string {
  if (prefix === '#') return `#${decodeURIComponent(channel)}`;
  return `${prefix}${isSpelled ? spelled(channel) : channel}`;
}

/** The forms that a text has, or may have, as a part of names that clients know. */
export function spellingsOf(text: string): readonly string[] {
  return [...new Set([text, plain(text), spelled(text)])];
}

function spelled(channel: string): string {
  const name = channel.replaceAll('~', '%7E');
  return SPELLINGS.reduce((text, [other, own]) => text.replaceAll(own, other), name);
}

function plain(name: string): string {
  return SPELLINGS.reduce((text, [other, own]) => text.replaceAll(other, own), name).replaceAll('%7E', '~');
}

/** As Snö writes a value in a channel's name. */
function encoded(value: string): string {
  return encodeURIComponent(value).replaceAll(/[!'()*]/g, (character) => {
    return `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  });
}
