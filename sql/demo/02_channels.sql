-- The demo's channels. A channel is a view; another view of the same name decides which clients may join it.
set local search_path to public;

-- Members of a board only: `sub` is compared with the claim of that name in the subscriber's token.
create view channels."board:{board_id}" as
  select id, board_id, title, status, position, assignee from tasks where archived_at is null;

create view channel_access."board:{board_id}" as
  select board_id, member as sub from members;

-- Every client may watch a match: the access view asks for no claim.
create view channels."match:{match_id}" as
  select id as match_id, home, away, home_score, away_score, clock_seconds, status from matches;

create view channel_access."match:{match_id}" as
  select id as match_id from matches;

create view channels."goals:{match_id}" as
  select id, match_id, team, scorer, clock_seconds from goals;

create view channel_access."goals:{match_id}" as
  select id as match_id from matches;

-- Prices as text, so that JavaScript keeps every digit.
create view channels."market:{market}" as
  select symbol, market, name, open::text as open, price::text as price from prices;

create view channel_access."market:{market}" as
  select market from prices;

create view channels."life:{id}" as
  select id, running from life;

create view channel_access."life:{id}" as
  select id from life;
