/**
 * Keeps secrets out of logs and error messages. Libraries put URLs, headers and options into their
 * errors, so the finished text is searched, whatever it was made of.
 *
 * Two ways find a secret: by its form, and, for the secrets of the settings, by its value.
 */

/** What stands in place of a secret. */
const HIDDEN = '[hidden]';
/** Shorter values would hide parts of ordinary words. */
const SECRET_LENGTH_MIN = 12;

const FORMS: readonly (readonly [form: RegExp, replacement: string])[] = [
  // The user of a NATS URL may be a token.
  [/\b(nats|tls|wss?):\/\/[^\s"\\/@]+@/gi, `$1://${HIDDEN}@`],
  // A password in a URL. A password that is not encoded may contain slashes and at signs.
  [/\b([a-z][a-z\d+.-]{0,20}:\/\/[^\s"\\/:@]{0,200}):[^\s"\\]{0,1000}@/gi, `$1:${HIDDEN}@`],
  // A password of a connection string, an option or a parameter. In a JSON log quotes are escaped.
  [
    /\b([\w-]{0,30}(?:password|passwd|pwd|secret|token|jwt|api_?key))(\s*=\s*)(?:'(?:[^'\\]|\\\\?.)*'|[^\s"'\\&,;)]+)/gi,
    `$1$2${HIDDEN}`,
  ],
  [/("(?:\w*password|\w*secret|\w*token|authorization|cookie|jwt)"\s*:\s*)"(?:[^"\\]|\\.)*"/gi, `$1"${HIDDEN}"`],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${HIDDEN}`],
  // JSON Web Tokens, among them those of NATS credentials
  [/(?<![\w-])eyJ[\w-]{6,}\.[\w.-]*/g, HIDDEN],
  // seeds of NATS keys
  [/\bS[ACNOUPX][A-Z2-7]{54,60}\b/g, HIDDEN],
  [/-----BEGIN [A-Z ]*(?:PRIVATE KEY|SEED)-----.*?(?:-----END [A-Z ]*-----|$)/gs, HIDDEN],
];

const secrets = new Set<string>();

/** From now on, `redacted` finds these values. */
export function hideSecrets(values: Iterable<string>): void {
  for (const value of values) {
    if (value.length < SECRET_LENGTH_MIN) continue;
    for (const form of [value, encodeURIComponent(value), JSON.stringify(value).slice(1, -1)]) secrets.add(form);
  }
}

/** The text without secrets. */
export function redacted(text: string): string {
  let safe = text;
  for (const secret of secrets) safe = safe.replaceAll(secret, HIDDEN);
  for (const [form, replacement] of FORMS) safe = safe.replace(form, replacement);
  return safe;
}
