/**
 * The reason why a view cannot be a channel. The compiler throws it internally and returns it as a
 * SnoError. Its message shows the place in the definition, if there is one.
 */
export class Unsupported extends Error {
  override readonly name = 'Unsupported';
  /** The message without the place. */
  readonly reason: string;
  /** The underlined part of the definition. */
  readonly place: string | undefined;
  /** What to write instead, if known. */
  readonly hint: string | undefined;

  constructor(reason: string, place?: { readonly text: string; readonly underlined: string }, hint?: string) {
    super(place === undefined ? reason : `${reason}\n\n${place.underlined}`);
    this.reason = reason;
    this.place = place?.text;
    this.hint = hint;
  }

  /** The same error for a view with joins, which cannot be left to Postgres. */
  inJoin(hint: string): Unsupported {
    const reason = `in a view that joins, ${this.reason.replace(' yet', '')}`;
    const refusal = new Unsupported(reason, undefined, hint);
    refusal.message = this.message.replace(this.reason, reason);
    return Object.assign(refusal, { place: this.place });
  }
}
