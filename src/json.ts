/**
 * Checks whether bytes are one JSON value (RFC 8259), without building it. Strings must contain no
 * raw control characters. UTF-8 is not checked, since Postgres has checked it.
 */
const WHITESPACE = table(' \t\n\r');
const DIGIT = table('0123456789');
const HEX = table('0123456789abcdefABCDEF');
const ESCAPE = table('"\\/bfnrt');
/** Maximum nesting of arrays and objects. A deeper value counts as invalid. */
const DEPTH_MAX = 6_400;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const MINUS = 0x2d;
const PLUS = 0x2b;
const DOT = 0x2e;
const ZERO = 0x30;
const LOWER_E = 0x65;
const UPPER_E = 0x45;
const LOWER_U = 0x75;
const LITERALS = new Map([
  [0x74, Buffer.from('true')],
  [0x66, Buffer.from('false')],
  [0x6e, Buffer.from('null')],
]);

function table(characters: string): Uint8Array {
  const set = new Uint8Array(256);
  for (const byte of Buffer.from(characters)) set[byte] = 1;
  return set;
}

/** Whether `buffer[start, end)` is exactly one JSON value, white space around it allowed. */
export function isJson(buffer: Buffer, start: number, end: number): boolean {
  const scanner = new Scanner(buffer, start, end);
  return scanner.value() && scanner.atEnd();
}

/**
 * Returns the text of a member's value as it stands in the JSON object. The last one counts, as in
 * JSON.parse. Undefined: the bytes are not a JSON object, or the member is missing.
 */
export function memberText(object: Buffer, name: string): Buffer | undefined {
  let found: Buffer | undefined;
  const scanner = new Scanner(object, 0, object.length);
  const isObject = scanner.object((keyStart, keyEnd, start, end) => {
    if (JSON.parse(object.toString('utf8', keyStart, keyEnd)) === name) found = object.subarray(start, end);
  });
  return isObject && scanner.atEnd() ? found : undefined;
}

/**
 * Maximum nesting of what clients show one another: the data of sends, and members. Apps read and
 * write it with functions that call themselves for each level.
 */
export const SHOWN_DEPTH_MAX = 500;

/** Whether JSON text nests arrays and objects more deeply than SHOWN_DEPTH_MAX. */
export function nestsTooDeeply(json: Buffer): boolean {
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) {
      for (at++; at < json.length && json[at] !== QUOTE; at++) if (json[at] === BACKSLASH) at++;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      if (++depth > SHOWN_DEPTH_MAX) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
  }
  return false;
}

/** Receives the places of a member's name, with its quotes, and of its value. */
type OnMember = (keyStart: number, keyEnd: number, start: number, end: number) => void;

/**
 * Reads values without recursion: a client chooses how deeply its frame is nested, and the stack of
 * calls is small.
 */
class Scanner {
  readonly #buffer: Buffer;
  readonly #end: number;
  /** The closing bytes of the arrays and objects that are open. */
  readonly #open: number[] = [];
  #at: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
  }

  atEnd(): boolean {
    this.#skipWhitespace();
    return this.#at === this.#end;
  }

  /** Reads a value, which may begin with white space. Returns whether it is valid. */
  value(): boolean {
    const open = this.#open;
    do {
      this.#skipWhitespace();
      const byte = this.#peek();
      const close = byte === OPEN_BRACE ? CLOSE_BRACE : byte === OPEN_BRACKET ? CLOSE_BRACKET : undefined;
      if (close === undefined) {
        if (!this.#scalar(byte)) return false;
      } else if (!this.#begin(close)) {
        if (open.length === DEPTH_MAX) return false;
        open.push(close);
        if (close === CLOSE_BRACE && !this.#key()) return false;
        continue;
      }
      while (open.length > 0 && this.#ends(open.at(-1) as number)) open.pop();
      if (open.length > 0 && !this.#separator(open.at(-1) as number)) return false;
    } while (open.length > 0);
    return true;
  }

  /** Reads an object and reports its members. Returns whether it is valid. */
  object(onMember: OnMember): boolean {
    this.#skipWhitespace();
    if (this.#peek() !== OPEN_BRACE) return false;
    if (this.#begin(CLOSE_BRACE)) return true;
    do {
      this.#skipWhitespace();
      const keyStart = this.#at;
      if (!this.#string()) return false;
      const keyEnd = this.#at;
      if (!this.#colon()) return false;
      const start = this.#at;
      if (!this.value()) return false;
      onMember(keyStart, keyEnd, start, this.#at);
      if (this.#ends(CLOSE_BRACE)) return true;
    } while (this.#take(COMMA));
    return false;
  }

  /** Reads an opening byte. Returns true if the closing one follows. */
  #begin(close: number): boolean {
    this.#at++;
    return this.#ends(close);
  }

  #ends(close: number): boolean {
    this.#skipWhitespace();
    return this.#take(close);
  }

  /** Reads a comma, and the key that follows in an object. */
  #separator(close: number): boolean {
    return this.#take(COMMA) && (close === CLOSE_BRACKET || this.#key());
  }

  #key(): boolean {
    this.#skipWhitespace();
    return this.#string() && this.#colon();
  }

  #colon(): boolean {
    this.#skipWhitespace();
    if (!this.#take(COLON)) return false;
    this.#skipWhitespace();
    return true;
  }

  #scalar(byte: number): boolean {
    if (byte === QUOTE) return this.#string();
    const literal = LITERALS.get(byte);
    return literal === undefined ? this.#number() : this.#literal(literal);
  }

  #peek(): number {
    return this.#at < this.#end ? (this.#buffer[this.#at] as number) : -1;
  }

  #take(byte: number): boolean {
    if (this.#peek() !== byte) return false;
    this.#at++;
    return true;
  }

  #skip(set: Uint8Array): boolean {
    const from = this.#at;
    while (this.#at < this.#end && set[this.#buffer[this.#at] as number] === 1) this.#at++;
    return this.#at > from;
  }

  #skipWhitespace(): void {
    this.#skip(WHITESPACE);
  }

  #string(): boolean {
    if (!this.#take(QUOTE)) return false;
    while (this.#at < this.#end) {
      const byte = this.#buffer[this.#at++] as number;
      if (byte === QUOTE) return true;
      if (byte < 0x20) return false;
      if (byte === BACKSLASH && !this.#escape()) return false;
    }
    return false;
  }

  #escape(): boolean {
    const byte = this.#peek();
    this.#at++;
    if (byte !== LOWER_U) return byte !== -1 && ESCAPE[byte] === 1;
    for (let digit = 0; digit < 4; digit++) {
      const hex = this.#peek();
      if (hex === -1 || HEX[hex] !== 1) return false;
      this.#at++;
    }
    return true;
  }

  #number(): boolean {
    this.#take(MINUS);
    if (!this.#take(ZERO) && !this.#skip(DIGIT)) return false;
    if (this.#take(DOT) && !this.#skip(DIGIT)) return false;
    if (!this.#take(LOWER_E) && !this.#take(UPPER_E)) return true;
    if (!this.#take(PLUS)) this.#take(MINUS);
    return this.#skip(DIGIT);
  }

  #literal(word: Buffer): boolean {
    const end = this.#at + word.length;
    if (end > this.#end || this.#buffer.compare(word, 0, word.length, this.#at, end) !== 0) return false;
    this.#at = end;
    return true;
  }
}
