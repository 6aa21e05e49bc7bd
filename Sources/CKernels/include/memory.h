#pragma once

/// Makes the allocator keep freed memory (up to 1 GiB at the top of the heap) and map only blocks above 32 MiB anew.
void pfc_keep_freed_memory(void);
