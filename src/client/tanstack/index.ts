/**
 * A channel as a collection of TanStack DB.
 *
 *     const options = { client, channel: 'project:42', getKey: (task: Task) => task.id };
 *     const tasks = createCollection(snoCollectionOptions<Task, number>(options));
 */
import type {
  BaseCollectionConfig,
  CollectionConfig,
  DeleteMutationFnParams,
  InsertMutationFnParams,
  SyncConfig,
  UpdateMutationFnParams,
} from '@tanstack/db';
import { SnoClientError } from '../error.ts';
import type { SnoClient, TypedClient } from '../index.ts';
import type { LiveOptions, LiveView } from '../live.ts';
import type { CommitId, ReachedOptions } from '../reached.ts';
import type { ChannelNames, RowOf } from '../typed/names.ts';
import { Synced } from './synced.ts';

export type SnoCollectionUtils = {
  /**
   * Resolves once the collection has received a commit. A handler that waits for it drops its
   * optimistic rows in the same step in which the rows of the database appear.
   */
  readonly reached: (commit: CommitId, options?: ReachedOptions) => Promise<void>;
};

/** A handler returns the commit that it made, and the collection waits for it. */
type Handler<Params> = (params: Params) => Promise<CommitId | undefined> | Promise<void>;

type Utils = SnoCollectionUtils;

export interface SnoCollectionConfig<Row extends object, Key extends string | number>
  extends Omit<
      BaseCollectionConfig<Row, Key, never, Utils>,
      'onDelete' | 'onInsert' | 'onUpdate' | 'schema' | 'syncMode' | 'utils'
    >,
    LiveOptions {
  readonly onInsert?: Handler<InsertMutationFnParams<Row, Key, Utils>>;
  readonly onUpdate?: Handler<UpdateMutationFnParams<Row, Key, Utils>>;
  readonly onDelete?: Handler<DeleteMutationFnParams<Row, Key, Utils>>;
}

export type SnoCollectionOptions<Row extends object, Key extends string | number> = CollectionConfig<
  Row,
  Key,
  never,
  Utils
> & { readonly utils: Utils; schema?: never };

/** The `id` of the collection is the channel's name, unless you give another one. */
export function snoCollectionOptions<Row extends object, Key extends string | number = string | number>(
  config: SnoCollectionConfig<Row, Key> & { readonly client: SnoClient; readonly channel: string },
): SnoCollectionOptions<Row, Key>;
export function snoCollectionOptions<
  Channels,
  const Name extends ChannelNames<Channels>,
  Key extends string | number = string | number,
>(
  config: SnoCollectionConfig<RowOf<Channels, Name> & object, Key> & {
    readonly client: TypedClient<Channels>;
    readonly channel: Name;
  },
): SnoCollectionOptions<RowOf<Channels, Name> & object, Key>;
export function snoCollectionOptions<Row extends object, Key extends string | number>({
  client,
  channel,
  waitForAccess,
  onInsert,
  onUpdate,
  onDelete,
  ...config
}: SnoCollectionConfig<Row, Key> & {
  readonly client: Omit<SnoClient, 'channel' | 'live'>;
  readonly channel: string;
}): SnoCollectionOptions<Row, Key> {
  /** One for each collection that is made with these options and is in use. */
  const views = new Set<LiveView<Row>>();
  const sync: SyncConfig<Row, Key>['sync'] = (collection) => {
    const view = (client as SnoClient).live<Row>(channel, { waitForAccess });
    const synced = new Synced<Row, Key>(view, config.getKey, collection);
    views.add(view);
    view.subscribe((update) => synced.update(update));
    if (view.loaded) synced.load();
    view.ready.catch((error) => synced.fail(error));
    return () => {
      views.delete(view);
      view.close();
    };
  };
  const reached = async (commit: CommitId, options?: ReachedOptions): Promise<void> => {
    if (views.size === 0) throw new SnoClientError('closed', `The collection of ${channel} is not in use.`);
    await Promise.all([...views].map((view) => view.reached(commit, options)));
  };
  const waiting =
    <Params>(handler: Handler<Params>) =>
    async (params: Params): Promise<void> => {
      const commit = (await handler(params)) as CommitId | undefined;
      // A collection that is not in use shows no rows to wait for.
      if (commit !== undefined && views.size > 0) await reached(commit);
    };
  return {
    id: channel,
    ...config,
    sync: { sync, rowUpdateMode: 'full' },
    utils: { reached },
    ...(onInsert && { onInsert: waiting(onInsert) }),
    ...(onUpdate && { onUpdate: waiting(onUpdate) }),
    ...(onDelete && { onDelete: waiting(onDelete) }),
  };
}
