/** Hints: what to write instead of unsupported features in a channel view. */

export const INSTEAD = {
  on: 'Write each join as JOIN ... ON or LEFT JOIN ... ON, with all columns of a unique key of the joined table.',
  right: 'Begin with the other table, and write LEFT JOIN.',
  nested: 'Join one table after the other, without brackets around the later ones.',
  tables: 'Read the tables below that view here, with its conditions.',
  joinHere: 'Write the join into the channel view, over the tables themselves.',
  toOne:
    'Join a table by all columns of its primary key or of a unique index. For rows that are many to one, make a channel view of each ' +
    'table, and join the rows where they are shown; or keep what is needed (a count) in a column of this table, by a trigger on the other.',
  inProcess: 'Keep the value in a column of its table, by a trigger, and read that.',
  keyType: 'Join by columns of one type, such as integer, bigint, uuid or text.',
  subquery:
    'Write [NOT] EXISTS or [NOT] IN (SELECT ... FROM one table WHERE ...), where a column of that table equals a column outside. Or keep what it finds in a column of this table (a count, or whether there is one), by a trigger on the other table, and read that column.',
  notExists: 'Write NOT EXISTS (SELECT FROM ... WHERE its column = the column outside).',
  total:
    'Keep the totals in a table of their own, with a row for each group, by a trigger (INSERT ... ON CONFLICT DO UPDATE), and make the channel view over that table.',
  rank: 'Compute it where the rows are shown; or keep it in a column, by a trigger.',
  distinct:
    'Keep each value once in a table of its own, by a trigger (INSERT ... ON CONFLICT DO NOTHING), and make the channel view over that table.',
  limit:
    'Leave it out, and take the first rows where they are shown; or keep in a column which rows are in, by a trigger, and compare it in WHERE.',
  order: 'Leave it out, and sort the rows where they are shown.',
  union:
    'Make a channel view of each part, and put the rows together where they are shown; or keep them all in one table. Parts of one table are OR and AND NOT in WHERE.',
  with: 'Write its query into the view itself, over one table.',
  rows: 'Keep the rows in a table, and make the channel view over that table.',
  sets: 'Show the array or object whole, and take it apart where it is shown; or keep its elements in a table of their own, by a trigger.',
  time: 'Keep the time in a column, show it, and compare it with the clock where the rows are shown; or let a job set a column (such as expired) when the time has come, and compare that in WHERE.',
  session:
    'Keep in a column whom the row is for, make it a placeholder of the channel, and let the access view compare it with the token.',
  random: 'Keep the value in a column, with this as its DEFAULT, and read that column.',
  setting: 'Write the value into the view; or keep what depends on it in a column, by a trigger.',
  function:
    'Where it depends on nothing but its arguments, declare it immutable: ALTER FUNCTION ... IMMUTABLE. Where it reads tables, keep what it finds in a column, by a trigger on them.',
  system: 'Read columns of your own: a key, or a number or time that a trigger sets.',
  lock: 'Leave it out: a channel view locks nothing.',
  sample: 'Keep in a column which rows are in, and compare it in WHERE.',
  only: 'Read a table without inheritance children, without ONLY; or use partitions, and read the partitioned table.',
  names: 'Give the names in the SELECT list: SELECT id AS ident.',
  below: 'Read the tables below it.',
  partition: 'Make it logged (ALTER TABLE ... SET LOGGED), copy its rows into a table of this database, or detach it.',
  foreign: 'Copy its rows into a table of this database, and read that.',
  cast: 'Use to_date() or to_timestamp() with a format; or keep the value in a column of its own type.',
} as const;
