/**
 * Pages that SNO_ALLOWED_ORIGINS includes, compared with the URL standard's reading of entry and
 * origin.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AllowedOrigins, originFault } from '../src/config/origins.ts';

const label = fc.constantFrom('a', 'b', 'app', 'example', 'x-1', 'xn--sn-lka', 'localhost', '1');
const host = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const port = fc.constantFrom('', ':3000', ':8443', ':443');
const scheme = fc.constantFrom('http', 'https', 'capacitor');
const origin = fc.tuple(scheme, host, port).map(([name, rest, end]) => `${name}://${rest}${end}`);
const wild = fc.tuple(scheme, host, port).map(([name, rest, end]) => `${name}://*.${rest}${end}`);
const hostile = fc
  .tuple(origin, fc.constantFrom('/', '@evil.example', '.', ' ', '#', '\\', '%2e', '\n', '*'), host)
  .map((parts) => parts.join(''));
const entries = fc
  .array(fc.oneof(origin, wild, fc.constantFrom('null', 'file://')), { maxLength: 3 })
  .map((all) => all.filter((entry) => originFault(entry) === undefined));

/** The rule as documented. */
function isIncluded(text: string, entry: string): boolean {
  if (text === entry) return true;
  if (!entry.includes('*') || !URL.canParse(text)) return false;
  const [page, parent] = [new URL(text), new URL(entry.replace('*.', ''))];
  const [first, ...rest] = page.hostname.split('.');
  return (
    page.origin === text &&
    first !== '' &&
    page.protocol === parent.protocol &&
    page.port === parent.port &&
    rest.join('.') === parent.hostname
  );
}

test('a wildcard matches one label, and everything else is exact', () => {
  const page = fc.oneof({ weight: 4, arbitrary: origin }, hostile, fc.constantFrom('null', 'file://', '', '*'));
  fc.assert(
    fc.property(page, entries, (text, allowed) => {
      const origins = new AllowedOrigins(allowed);
      expect(origins.include(text)).toBe(allowed.some((entry) => isIncluded(text, entry)));
      // the host of an included origin is accepted as a Host header
      if (origins.include(text) && /^https?:/.test(text))
        expect(origins.haveHost(new URL(text).hostname.replace(/\.$/, ''))).toBe(true);
    }),
    { numRuns: 5_000 },
  );
});

test('an origin as a browser sends it is a valid entry, and includes only itself', () => {
  fc.assert(
    fc.property(fc.webUrl(), fc.webUrl(), (one, other) => {
      const [mine, another] = [new URL(one).origin, new URL(other).origin];
      expect(originFault(mine)).toBeUndefined();
      expect(new AllowedOrigins([mine]).include(mine)).toBe(true);
      expect(new AllowedOrigins([mine]).include(another)).toBe(mine === another);
    }),
  );
});

test('refuses an entry with a wildcard elsewhere', () => {
  const star = fc.tuple(origin, fc.nat()).map(([text, at]) => {
    const place = at % (text.length + 1);
    return `${text.slice(0, place)}*${text.slice(place)}`;
  });
  fc.assert(
    fc.property(star, (entry) => {
      const isLeading = /^https?:\/\/\*\./.test(entry);
      if (!isLeading) expect(originFault(entry)).toBeDefined();
    }),
  );
});
