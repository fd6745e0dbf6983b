-- The database of a small project tracker: the "existing app" of docs/tutorial.md.
create type task_status as enum ('open', 'doing', 'done');

create table orgs (id int primary key, name text not null, plan text not null default 'free');
create table users (id text primary key, name text not null, email text not null unique);
create table org_members (org_id int references orgs, user_id text references users, role text not null, primary key (org_id, user_id));
create table teams (id int primary key, org_id int not null references orgs, name text not null);
create table team_members (team_id int references teams, user_id text references users, primary key (team_id, user_id));
create table projects (id int primary key, org_id int not null references orgs, name text not null, archived_at timestamptz);
create table project_members (project_id int references projects, user_id text references users, primary key (project_id, user_id));
create table milestones (id int primary key, project_id int not null references projects, name text not null, due date);
create table tasks (
  id bigint generated always as identity primary key,
  project_id int not null references projects,
  milestone_id int references milestones,
  title text not null,
  status task_status not null default 'open',
  assignee_id text references users,
  estimate numeric(6, 2),
  details jsonb not null default '{}',
  created_at timestamptz not null default now()
);
create index on tasks (project_id);
create table labels (id int primary key, org_id int not null references orgs, name text not null, color text not null);
create table task_labels (task_id bigint references tasks on delete cascade, label_id int references labels, primary key (task_id, label_id));
create table comments (
  id bigint generated always as identity primary key,
  task_id bigint not null references tasks on delete cascade,
  author_id text not null references users,
  body text not null,
  created_at timestamptz not null default now()
);
create table attachments (id uuid primary key default gen_random_uuid(), task_id bigint not null references tasks on delete cascade, name text not null, bytes bytea);
create table time_entries (id bigint generated always as identity primary key, task_id bigint not null references tasks on delete cascade, user_id text not null references users, minutes int not null);
create table notifications (
  id bigint generated always as identity primary key,
  user_id text not null references users,
  body text not null,
  read_at timestamptz
);
create table sessions (id text primary key, user_id text not null references users);
create table audit_log (at timestamptz not null default now(), user_id text, action text not null);

insert into orgs values (1, 'Acme', 'paid'), (2, 'Umbrella', 'free');
insert into users values ('ada', 'Ada', 'ada@example.com'), ('bob', 'Bob', 'bob@example.com'), ('eve', 'Eve', 'eve@example.com');
insert into org_members values (1, 'ada', 'owner'), (1, 'bob', 'member'), (2, 'eve', 'owner');
insert into teams values (1, 1, 'Garden');
insert into team_members values (1, 'ada'), (1, 'bob');
insert into projects values (1, 1, 'Fence', null), (2, 1, 'Pond', null), (3, 2, 'Cellar', null);
insert into project_members values (1, 'bob'), (3, 'eve');
insert into milestones values (1, 1, 'Spring', '2027-03-20');
insert into tasks (project_id, milestone_id, title, assignee_id)
  values (1, 1, 'Buy paint', 'bob'), (1, 1, 'Paint the fence', null), (2, null, 'Dig', 'ada'), (3, null, 'Clean', 'eve');
insert into labels values (1, 1, 'urgent', '#c00');
insert into task_labels values (1, 1);
insert into comments (task_id, author_id, body) values (1, 'ada', 'Which colour?');
insert into notifications (user_id, body) values ('bob', 'Ada commented on "Buy paint"');
insert into sessions values ('s-ada', 'ada'), ('s-bob', 'bob'), ('s-eve', 'eve');
