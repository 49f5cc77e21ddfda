-- The acceptor (受理员) registers what the hotline hears, the video operator what a camera shows.
update cases.transition set roles = roles || '{acceptor,video_operator}' where from_stage = 'none' and act = 'report';

create index case_place on cases.case using gist (geom);
comment on index cases.case_place is 'Cases by place: tiles, the same problem nearby';
