import type { Catalog } from './channels/catalog/catalog.ts';
import type { BatchSink } from './commit/builder.ts';
import type { ResetReason } from './protocol.ts';

/** The messages from the WAL half to the client-facing half, in the order of the stream. */
export interface Downstream extends BatchSink {
  /** A history begins, and the journal is empty. Every subscription is reset with this reason. */
  begin(reason: ResetReason): void;
  /** These definitions apply from here on. */
  defined(catalog: Catalog): void;
  /** Whether the definitions are certain from here on. */
  known(isKnown: boolean): void;
  /** A marker arrived. */
  marker(id: string): void;
  /** Everything that arrived together has been passed on: send it now. */
  flush(): void;
}
