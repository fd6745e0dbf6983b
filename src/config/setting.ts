/** What a setting is: a form of values, a default and a description. */
import type { Form } from './forms.ts';

export interface Setting<T = unknown> {
  readonly form: Form<T>;
  /** The default as an operator would write it; undefined if the setting has no default. */
  readonly fallback?: string;
  readonly description: string;
  /** The value is never printed or logged. */
  readonly secret?: boolean;
}

export const setting = <T>(form: Form<T>, fallback: string, description: string): Setting<T> => ({
  form,
  fallback,
  description,
});

export const optional = <T>(form: Form<T>, description: string): Setting<T | undefined> => ({
  form: form as Form<T | undefined>,
  description,
});

export const secret = <T>(form: Form<T>, description: string): Setting<T | undefined> => ({
  ...optional(form, description),
  secret: true,
});
