/** All routines that are computed in process, by kinds of values. */
import { ARRAYS } from './arrays.ts';
import { BYTEAS } from './byteas.ts';
import { CASTS } from './casts.ts';
import { FLOATS } from './floats.ts';
import { INTEGERS } from './integers.ts';
import { JSONS } from './jsons.ts';
import { LIKES } from './likes.ts';
import { NUMERICS } from './numerics.ts';
import { Routines, type RoutineTable } from './routine.ts';
import { TEMPORALS } from './temporals.ts';
import { TEXTS } from './texts.ts';

/** Keys are the titles in the documentation. */
export const ROUTINE_TABLES: Readonly<Record<string, RoutineTable>> = {
  Integers: INTEGERS,
  'Exact numbers': NUMERICS,
  Floats: FLOATS,
  Text: TEXTS,
  'LIKE and ILIKE': LIKES,
  'Dates and times': TEMPORALS,
  JSON: JSONS,
  Bytes: BYTEAS,
  Arrays: ARRAYS,
  Casts: CASTS,
};

export const ROUTINES = new Routines(Object.values(ROUTINE_TABLES));
