"""What every package uses; nothing here knows about pixels or nets.

files           whole-file writes, locks, file signatures
regular_files   opens and reads files from outside: only regular ones, of a bounded size
json_files      JSON from outside, checked against a type
csv_files       CSV tables from outside, checked against the types of their columns
answers         a stream of answers into a CSV file and a JSON file
mat_files       MATLAB's files, checked before scipy reads them
fetch           downloads with resume and checksum; the cache folder
web             one request to a web server, with bounds
printable       names and lines for people: no control characters, no secrets of addresses
left_out        LeftOut: counts what is left out, and why
progress        one progress bar for everything long
torch_settings  devices by name; torch's global settings in one context manager
options         the fields of settings as keywords of functions; checks of choices
processes       the processors of this process; what torchrun tells its processes
memory          free memory; glibc's allocator
lazy            public names that are imported on first use
"""
