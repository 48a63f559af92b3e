#pragma once

#include "conf/reading.h"

namespace classgate::conf {

// When all sources have been read: checks what only makes sense, or none, together with something
// else, and fills in what follows from several settings.
void put_together(Reading& reading);

}  // namespace classgate::conf
