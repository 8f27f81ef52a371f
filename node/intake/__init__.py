"""From an arrival to jobs: ``receive`` makes it durable, ``assemble`` judges the study complete, ``route`` says who takes it."""
