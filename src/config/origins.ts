/**
 * SNO_ALLOWED_ORIGINS: the web pages that may connect, by the origin that browsers send. Scheme and
 * port are compared exactly. `*` as the first label of a host stands for exactly one label, as in
 * certificates.
 */

/** For docs/settings.md and for errors. */
export const ORIGIN_FORM = '`*`, or origins such as https://app.example.com or https://*.example.com, comma-separated';

const WILDCARD_FAULT =
  'a wildcard may replace only the first label of a host, with http or https: https://*.example.com';

/** Why an entry is not an origin that a browser could send; undefined: it is one. */
export function originFault(entry: string): string | undefined {
  if (entry === '*' || entry === 'null') return undefined;
  const [, scheme = '', rest = ''] = /^([a-z][a-z\d+.-]*):\/\/([^/?#@\s\\]*)$/.exec(entry) ?? [];
  if (scheme === '') return unreadable(entry);
  if (entry.includes('*')) return wildcardFault(entry);
  if (/^wss?$/.test(scheme)) return `use the origin of the page: ${entry.replace('ws', 'http')}`;
  if (/^https?$/.test(scheme)) return canonical(entry) === entry ? undefined : unreadable(entry);
  if (scheme === 'file') return rest === '' ? undefined : 'pages opened from files have the origin file:// or null';
  return rest === '' || URL.canParse(entry) ? undefined : unreadable(entry);
}

function wildcardFault(entry: string): string | undefined {
  if (!/^https?:\/\/\*\.[^*]+$/.test(entry)) return WILDCARD_FAULT;
  const fault = originFault(entry.replace('*', 'a'));
  if (fault !== undefined) return fault.replace('//a.', '//*.');
  const parent = new URL(entry.replace('*.', '')).hostname.replace(/\.$/, '');
  return parent.includes('.') || parent === 'localhost' ? undefined : `that would allow every site under .${parent}`;
}

/** As a browser writes it: lower case, without a path, and without the scheme's own port. */
function canonical(entry: string): string | undefined {
  return URL.canParse(entry) ? new URL(entry).origin : undefined;
}

function unreadable(entry: string): string {
  const meant = /^https?:/i.test(entry) ? canonical(entry) : undefined;
  return meant === undefined || meant === 'null'
    ? "an origin is scheme://host, with :port unless it is the scheme's default"
    : `browsers send it as ${meant}`;
}

interface Wildcard {
  /** `https://` */
  readonly scheme: string;
  /** `.example.com:8443` */
  readonly rest: string;
}

/** Entries that have no `originFault`. */
export class AllowedOrigins {
  readonly #isAll: boolean;
  readonly #origins: ReadonlySet<string>;
  readonly #wildcards: readonly Wildcard[];
  readonly #hosts: ReadonlySet<string>;
  readonly #parents: readonly string[];

  constructor(entries: readonly string[]) {
    const wild = entries.filter((entry) => entry.includes('*.'));
    const plain = entries.filter((entry) => !entry.includes('*'));
    this.#isAll = entries.includes('*');
    this.#origins = new Set(plain);
    this.#wildcards = wild.map((entry) => {
      const [scheme, rest] = entry.split('*') as [string, string];
      return { scheme, rest };
    });
    this.#hosts = new Set(plain.filter((entry) => /^https?:/.test(entry)).map(hostOf));
    this.#parents = wild.map((entry) => hostOf(entry.replace('*', '')));
  }

  include(origin: string): boolean {
    return (
      this.#isAll ||
      this.#origins.has(origin) ||
      this.#wildcards.some(
        ({ scheme, rest }) =>
          origin.startsWith(scheme) &&
          origin.endsWith(rest) &&
          isLabel(origin.slice(scheme.length, origin.length - rest.length)),
      )
    );
  }

  /**
   * Whether an entry names the host, with any scheme and port. `name` is as `hostName` returns it.
   */
  haveHost(name: string): boolean {
    return (
      this.#hosts.has(name) ||
      this.#parents.some((parent) => name.endsWith(parent) && isLabel(name.slice(0, name.length - parent.length)))
    );
  }
}

/**
 * Without port, brackets and the dot at the end; of `https://.example.com` it is `.example.com`.
 */
function hostOf(entry: string): string {
  const isParent = entry.includes('://.');
  const { hostname } = new URL(isParent ? entry.replace('://.', '://') : entry);
  return (isParent ? '.' : '') + hostname.replace(/^\[(.*)\]$/, '$1').replace(/\.$/, '');
}

function isLabel(text: string): boolean {
  return /^[a-z\d_-]+$/.test(text);
}
