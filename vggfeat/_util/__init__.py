"""What every part of the house uses; nothing here knows about images or nets.

files           whole-file writes, locks, file signatures
fetch           downloads with resume and checksum; the cache folder
left_out        LeftOut: counts what is left out, and why
progress        one progress bar for everything long
torch_settings  devices by name; torch's global settings in one context manager
memory          free memory; glibc's allocator
lazy            public names that are imported on first use
"""
