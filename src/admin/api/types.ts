/**
 * The JSON of the admin API: docs/admin-api.md. These files import only each other: the
 * dashboard's page uses them too.
 *
 * - Times (`at`, `...At`) are ms since 1970, by the clock of the service.
 * - Durations are in seconds and sizes in bytes: their names end with the unit.
 * - `null`: unknown, or it does not apply to this process.
 * - A process shows itself and its workers. Other machines have an admin port of their own.
 */
export type * from './shapes/channels.ts';
export type * from './shapes/common.ts';
export type * from './shapes/connections.ts';
export type * from './shapes/explain.ts';
export type * from './shapes/service.ts';
export type * from './shapes/stream.ts';
