/**
 * Number of connections that a process opens by itself, beside those of its clients,
 * SNO_SNAPSHOTS and SNO_ACCESS_QUERIES. docs/operations.md lists them.
 */

/** The replication connection, and the one that listens. */
export const STREAM_CONNECTIONS = 2;
/** Queries of the first process: setup, markers, the catalog, the slot. */
export const MAIN_QUERY_CONNECTIONS = 4;
/** Queries of a worker process. */
export const WORKER_QUERY_CONNECTIONS = 2;
/** Maximum connections of the admin port. */
export const ADMIN_CONNECTIONS_MAX = 100;
