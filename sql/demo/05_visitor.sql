-- The role of the SQL box: it may only read and write the demo's rows. The demo sets its password.
create role demo_visitor connection limit 10;
alter role demo_visitor set search_path to public;
alter role demo_visitor set statement_timeout to '5s';
alter role demo_visitor set idle_in_transaction_session_timeout to '5s';

grant select, insert, update, delete on public.tasks, public.members, public.matches, public.goals, public.prices, public.life
  to demo_visitor;
grant usage on sequence public.task_order to demo_visitor;
grant usage on schema demo to demo_visitor;
