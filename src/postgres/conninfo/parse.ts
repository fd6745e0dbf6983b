/**
 * Parses a connection string as libpq does (fe-connect.c): a URI, or keyword=value pairs. Pure.
 * Values may contain the password, and an unencoded password looks like any other part, so errors
 * show no value.
 */
import { SnoError } from '../../errors.ts';

/** The string's values by libpq's keywords. If a keyword occurs twice, the last one counts. */
export type Pairs = Map<string, string>;

const URI = /^postgres(?:ql)?:\/\//;
const CREDENTIALS = "the user, the password and other parts of a URI percent-encode '@' as %40, '/' as %2F, '%' as %25";

/** Throws `connection_invalid`. `checkParameter` checks the keywords and values. */
export function parseConninfo(text: string): Pairs {
  const prefix = URI.exec(text);
  return prefix === null ? parsePairs(text) : parseUri(text.slice(prefix[0].length));
}

export function invalid(message: string): SnoError {
  return new SnoError('connection_invalid', message);
}

function parseUri(rest: string): Pairs {
  const pairs: Pairs = new Map();
  const put = (keyword: string, value: string) => {
    if (value !== '') pairs.set(keyword, decode(value, keyword));
  };
  let text = rest;
  const credentials = /^([^@/:]*)(?::([^@/]*))?@/.exec(text);
  if (credentials !== null) {
    put('user', credentials[1] ?? '');
    put('password', credentials[2] ?? '');
    text = text.slice(credentials[0].length);
  }
  const query = text.indexOf('?');
  const path = query < 0 ? text : text.slice(0, query);
  const slash = path.indexOf('/');
  const [hosts, ports] = hostsOf(slash < 0 ? path : path.slice(0, slash));
  put('host', hosts);
  put('port', ports);
  if (slash >= 0) put('dbname', path.slice(slash + 1));
  if (query >= 0) putQuery(pairs, text.slice(query + 1));
  return pairs;
}

/** Parses `host1:port1,[::1]:port2` into hosts and ports, each separated by commas. */
function hostsOf(authority: string): [hosts: string, ports: string] {
  const hosts: string[] = [];
  const ports: string[] = [];
  for (const item of authority.split(',')) {
    if (item.startsWith('[')) {
      const match = /^\[([^\]]+)\](?::(.*))?$/.exec(item);
      if (match === null)
        throw invalid("write an IPv6 address in the URI between '[' and ']', followed by ':' and the port");
      hosts.push(match[1] as string);
      ports.push(match[2] ?? '');
      continue;
    }
    if (item.includes('@')) throw invalid(`the host of the URI contains '@': ${CREDENTIALS}`);
    const colon = item.indexOf(':');
    hosts.push(colon < 0 ? item : item.slice(0, colon));
    ports.push(colon < 0 ? '' : item.slice(colon + 1));
  }
  return [hosts.join(), ports.some((port) => port !== '') ? ports.join() : ''];
}

function putQuery(pairs: Pairs, query: string): void {
  if (query === '') return;
  // One '&' may end it.
  for (const item of query.replace(/&$/, '').split('&')) {
    const [name = '', value, ...more] = item.split('=');
    const keyword = decode(name, 'the name of a parameter');
    if (value === undefined) throw invalid(`the parameter ${shownName(keyword)} of the URI lacks '=' and a value`);
    if (more.length > 0) throw invalid(`the value of ${shownName(keyword)} in the URI contains '=': write it as %3D`);
    const decoded = decode(value, keyword);
    // As JDBC writes it.
    if (keyword === 'ssl' && decoded === 'true') pairs.set('sslmode', 'require');
    else pairs.set(keyword, decoded);
  }
}

function decode(text: string, what: string): string {
  if (!text.includes('%')) return text;
  if (/%(?![0-9a-f]{2})/i.test(text))
    throw invalid(`in ${shownName(what)} a '%' is not followed by two hexadecimal digits: ${CREDENTIALS}`);
  if (text.includes('%00')) throw invalid(`in ${shownName(what)} a %00 is not allowed`);
  const bytes = Buffer.from(
    text.replace(/%([0-9a-f]{2})|[^%]+/gi, (part, hex?: string) => hex ?? Buffer.from(part).toString('hex')),
    'hex',
  );
  return bytes.toString('utf8');
}

/**
 * A name for an error message. Text that does not look like a name may be part of a password, and
 * is not shown.
 */
export function shownName(name: string): string {
  return /^[A-Za-z][A-Za-z0-9_. ]{0,39}$/.test(name) ? name : 'a parameter';
}

/** Parses `host=... password='with space'`. A backslash escapes the next character. */
function parsePairs(text: string): Pairs {
  const pairs: Pairs = new Map();
  const at = /\s*([^\s=]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?!')(?:[^\s\\]|\\.?)*))|\s*$/sy;
  const end = text.trimEnd().length;
  while (at.lastIndex < end) {
    const from = at.lastIndex;
    const match = at.exec(text);
    const keyword = match?.[1];
    if (match === null || keyword === undefined) throw pairsFault(text.slice(from), pairs.size);
    pairs.set(keyword, (match[2] ?? match[3] ?? '').replace(/\\(.?)/gs, '$1'));
  }
  return pairs;
}

function pairsFault(rest: string, count: number): SnoError {
  if (count === 0 && !/^\s*[a-z_]+\s*=/.test(rest))
    return invalid(
      'must be a URI (postgres://... or postgresql://...) or pairs such as host=... dbname=..., as libpq reads them',
    );
  const keyword = /^\s*([^\s=]+)\s*=\s*'/.exec(rest)?.[1];
  if (keyword !== undefined) return invalid(`the quoted value of ${shownName(keyword)} has no end`);
  return invalid("a word has no '=': put a value with spaces in single quotes, as in password='a b'");
}
