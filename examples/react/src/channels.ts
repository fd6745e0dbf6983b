/**
 * The channels of the database. Written by `sno types`: run it again after a migration.
 *
 *     const sno = connect<Channels>('wss://example.com/v1');
 */
export interface Channels {
  'project:{project_id}': {
    row: { id: number; project_id: number; title: string; done: boolean };
    key: { id: number };
    values: { project_id: number };
  };
}
