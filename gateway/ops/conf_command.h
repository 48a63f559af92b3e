#pragma once

#include <string>
#include <utility>
#include <vector>

#include "conf/command_line.h"

namespace classgate::gateway {

// `classgate conf history`: the confs that were in force, the newest first. Needs no running
// classgate. Exit status: 0 told, 1 there are none or they cannot be read.
int tell_conf_history(const conf::CommandLine& command,
                      const std::vector<std::pair<std::string, std::string>>& environment);

// `classgate conf show NUMBER`: what the files of that one said, each value with its place, and
// none of the defaults; read as at a start, and printed without its secrets. Exit status: 0 told, 1
// there is none of this number, or this version cannot read what it said.
int show_kept_conf(const conf::CommandLine& command,
                   const std::vector<std::pair<std::string, std::string>>& environment);

// `classgate conf rollback [NUMBER]`: writes the conf files as that one had them, and has a running
// classgate reload them. Without a number it is the newest one that says something else than the
// disk: after a reload the one before it, after an edit that never came into force the one that is
// in force. Nothing is lost: what is on the disk and was never kept is kept first; a file of conf.d
// that the older conf had not goes by another name (".rolled-back"); and where the reload is
// refused every file is as before. Exit status: 0 done, 1 refused and nothing changed, 2 written,
// and nobody knows whether it was reloaded.
int roll_back(const conf::CommandLine& command,
              const std::vector<std::pair<std::string, std::string>>& environment);

}  // namespace classgate::gateway
