/**
 * The types whose texts depend on settings: a column's form is checked before anything is computed
 * from it.
 */
import { visitArray } from '../values/array-text.ts';
import { type Form, isByteaText, isDateText, isTimestampText, isTimestampTzText, textFormOf } from '../values/form.ts';
import type { ValueType } from '../values/types.ts';

export interface ShapedType {
  readonly name: string;
  readonly form: Form;
}

const SCALARS: Readonly<Partial<Record<ValueType['kind'], Form>>> = {
  date: isDateText,
  timestamp: isTimestampText,
  timestamptz: isTimestampTzText,
  bytea: isByteaText,
};

/** Undefined if no setting affects the type's text. */
export function shapedType(type: ValueType): ShapedType | undefined {
  const form = formOf(type);
  return form === undefined ? undefined : { name: type.name, form };
}

function formOf(type: ValueType): Form | undefined {
  if (type.kind === 'other') return textFormOf(type.oid);
  if (type.kind !== 'array') return SCALARS[type.kind];
  const element = formOf(type.element);
  return element === undefined ? undefined : arrayForm(element, type.delimiter.charCodeAt(0));
}

function arrayForm(form: Form, delimiter: number): Form {
  let areFormed = true;
  const visitor = {
    open() {},
    close() {},
    separator() {},
    nullElement() {},
    element(buffer: Buffer, start: number, end: number) {
      areFormed &&= form(buffer, start, end);
    },
  };
  return (buffer, start, end) => {
    areFormed = true;
    visitArray(buffer, start, end, delimiter, visitor);
    return areFormed;
  };
}
