-- The ledger of several gateways before one service (admission/sharing/ledger.h), as a script for
-- Redis: the same reports give the same shares, which tests/gateway/sharing_script_test.cpp holds it
-- to. What it does and why stands there; the functions here have the names they have there.
--
-- One key, which expires when nobody has reported for so long that nobody can have a seat. All times
-- are microseconds, exact in Lua's numbers (below 2^53). Gateways of several versions may share a
-- ledger while a new one goes round: whoever changes the state must read what others write.
--
-- KEYS[1]  the ledger
-- ARGV     verb, member, members_max, lease, away_max, then for the verb
--   settle   number, ledger, sent, cap, floor, floors, members, in_use, workers, request_timeout,
--            wanted of each priority, weight of each priority, heard; for tests told and server, else
--            two empty ones; 1 to be shown all gateways; then of each rate: id, limit, given, part,
--            wanted, weight
--   leave    nothing more
--   bury     the member that has died
--   show     nothing more
-- Answers
--   settle   {heard, told, ledger, seats, target, floor, floors, members, before,
--            part, granted and limit of each rate in turn ..., and last, if it wants to see it, what
--            `show` says}
--   leave    "OK", as of bury
--   show     {kept for nobody who is heard of, recovering,
--            {member, held or kept for it, in_use, floor, workers, microseconds of its lease}, ...}

local priorities, rates_max, whole_rate = 5, 32, 1000000
local verb, name, members_max = ARGV[1], ARGV[2], tonumber(ARGV[3])
local lease, away_max = tonumber(ARGV[4]), tonumber(ARGV[5])

local packed = redis.call('GET', KEYS[1])
local all = packed and cmsgpack.unpack(packed) or {
  server = '', last = 0, now = 0, recovering = false, since = 0, ['until'] = 0,
  members_expected = 0, floors_expected = 0, floors_missing = 0, missing_until = 0,
  lease = 0, away_max = 0, members = {}}
local members = all.members
all.pools = all.pools or {}

local names
local function in_order()
  if not names then
    names = {}
    for other in pairs(members) do names[#names + 1] = other end
    table.sort(names)
  end
  return names
end

local function is_live(member) return all.now <= member['until'] and not member.buried end

local function kept_for(member)
  if is_live(member) then return member.held end
  local held = all.now <= member['until'] + member.request_timeout and member.held or 0
  local floor = all.now <= member['until'] + away_max and member.floor or 0
  return math.max(held, floor)
end

local function turn_clock(told)
  local passed = told - all.last
  local is_first = all.last == 0
  all.last = told
  if not is_first and passed >= 0 and passed <= math.floor(lease / 8) then
    all.now = all.now + passed
  elseif not is_first then
    if passed > 0 then all.now = all.now + math.floor(lease / 16) end
    for _, member in pairs(members) do member.held = math.max(member.held, member.floor) end
  end
  for _, member in pairs(members) do
    if member.buried then member['until'] = math.min(member['until'], all.now) end
  end
end

local function forget_the_gone()
  for other, member in pairs(members) do
    local may_still_be_heard = member.buried and all.now <= member['until'] + lease
    if not is_live(member) and kept_for(member) == 0 and not may_still_be_heard then
      members[other] = nil
    end
  end
  names = nil
end

local function recover(report, server)
  local is_unknown_to_me = report.ledger ~= '' and not members[name]
  local is_elsewhere = server ~= all.server
  if is_elsewhere or is_unknown_to_me then
    if is_elsewhere or not all.recovering then
      for _, member in pairs(members) do member.confirmed = member.buried end
    end
    if is_elsewhere then
      for _, member in pairs(members) do member.newcomer = false end
    end
    local share = math.floor(report.workers / math.max(#in_order(), 1))
    for _, member in pairs(members) do
      if not member.confirmed then member.floor = math.max(member.floor, share) end
    end
    all.recovering = true
    all.server = server
    all.pools = {}
    all.since = all.now
    local longest = report.request_timeout
    for _, member in pairs(members) do longest = math.max(longest, member.request_timeout) end
    all['until'] = all.now + 2 * lease + longest
  end
  if is_unknown_to_me then
    all.floors_missing = all.floors_missing - math.min(all.floors_missing, report.floor)
  end
  if not all.recovering or (report.ledger == all.server and not is_unknown_to_me) then return end
  all.members_expected = math.max(all.members_expected, report.members)
  all.floors_expected = math.max(all.floors_expected, math.min(
    math.max(report.floors, report.members * report.floor), report.workers))
end

local function missing()
  local floors = 0
  for _, member in pairs(members) do floors = floors + member.floor end
  return math.max(all.floors_missing, math.max(all.floors_expected - floors, 0))
end

local function end_recovery()
  local of_before = 0
  for _, member in pairs(members) do
    if not member.newcomer then of_before = of_before + 1 end
  end
  local wait = of_before > 0 and math.floor(lease / 2) or 2 * lease
  local are_all_here = all.now >= all.since + wait and of_before >= all.members_expected
  for _, member in pairs(members) do are_all_here = are_all_here and member.confirmed end
  if not are_all_here and all.now <= all['until'] then return end
  local gone = missing()
  if gone > all.floors_missing then
    all.floors_missing = gone
    all.missing_until = all.now + away_max
  end
  all.recovering = false
  all.members_expected, all.floors_expected = 0, 0
end

local function workers_of_all()
  local least = 0
  for _, member in pairs(members) do
    if is_live(member) and (least == 0 or member.workers < least) then least = member.workers end
  end
  return least
end

local function divide(left, claims)
  local function is_open(claim) return claim.given < claim.wanted end
  while left > 0 do
    local weight = 0
    for _, claim in ipairs(claims) do
      if is_open(claim) then weight = weight + math.max(claim.weight, 1) end
    end
    if weight == 0 then break end
    local to_give = left
    for _, claim in ipairs(claims) do
      if is_open(claim) then
        local part = math.floor(to_give * math.max(claim.weight, 1) / weight)
        local given = math.min(math.max(part, 1), claim.wanted - claim.given, left)
        claim.given = claim.given + given
        left = left - given
      end
    end
  end
  return left
end

local function target_of(workers)
  local left = workers
  local function keep(seats) left = left - math.min(seats, left) end
  keep(missing())
  local parts, asked_for = {}, 1
  for _, other in ipairs(in_order()) do
    local member = members[other]
    if is_live(member) then
      parts[#parts + 1] = member
      if other == name then asked_for = #parts end
    else
      keep(kept_for(member))
    end
  end
  local target = 0
  for priority = 1, priorities do
    local claims = {}
    for i, part in ipairs(parts) do
      claims[i] = {wanted = part.wanted[priority], weight = part.weight[priority], given = 0}
    end
    left = divide(left, claims)
    target = target + claims[asked_for].given
  end
  return target + math.floor(left / #parts) + (asked_for <= left % #parts and 1 or 0)
end

local function nobodys_part(workers)
  if all.recovering or workers == 0 then return 0 end
  local floors = missing()
  for _, member in pairs(members) do floors = floors + member.floor end
  return whole_rate - math.min(math.floor((floors * whole_rate + workers - 1) / workers), whole_rate)
end

local function take_back_unheard(member)
  for id, granted in pairs(member.granted or {}) do
    if all.pools[id] then all.pools[id].tokens = all.pools[id].tokens + granted end
  end
end

local function forget_pools()
  for id in pairs(all.pools) do
    local is_wanted = false
    for _, member in pairs(members) do
      is_wanted = is_wanted or (is_live(member) and member.rates ~= nil and member.rates[id] ~= nil)
    end
    if not is_wanted then all.pools[id] = nil end
  end
end

local function share_of(id, rate, nobodys)
  local claims, parts, asked_for, limit = {}, {}, 1, rate.limit
  for _, other in ipairs(in_order()) do
    local its = is_live(members[other]) and members[other].rates and members[other].rates[id]
    if its then
      claims[#claims + 1] = {wanted = its.wanted, weight = its.weight, given = 0}
      parts[#claims] = its.part
      if other == name then asked_for = #claims end
      limit = math.min(limit, its.limit)
    end
  end
  local left = divide(whole_rate, claims)
  local lacking_of_all, lacking = 0, 0
  for i, claim in ipairs(claims) do
    claim.given = claim.given + math.floor(left / #claims) + (i <= left % #claims and 1 or 0)
    local lacks = claim.given - math.min(claim.given, parts[i])
    lacking_of_all = lacking_of_all + lacks
    if i == asked_for then lacking = lacks end
  end

  local pool = all.pools[id] or {tokens = 0, filled = all.now}
  all.pools[id] = pool
  local passed = math.floor((all.now - pool.filled) / 1000)
  pool.filled = pool.filled + passed * 1000
  local most = lacking_of_all == 0 and 0 or math.floor(limit * math.floor(lease / 1000) / 4000)
  local gained = math.floor(math.floor(limit * nobodys / whole_rate) * passed / 1000)
  pool.tokens = math.min(pool.tokens + gained + rate.given, most)
  local granted = lacking == 0 and 0 or
                  math.min(math.floor(pool.tokens * lacking / lacking_of_all), pool.tokens)
  pool.tokens = pool.tokens - granted
  return claims[asked_for].given, granted, limit
end

-- It outlives whoever may still have a seat by it, twice over: its own time may go slower than the
-- engine's.
local function keep()
  local longest = 0
  for _, member in pairs(members) do longest = math.max(longest, member.request_timeout) end
  local time = 2 * (away_max + 4 * lease + longest)
  redis.call('SET', KEYS[1], cmsgpack.pack(all), 'PX', math.ceil(time / 1000))
end

if verb == 'leave' then
  if members[name] then
    members[name] = nil
    keep()
  end
  return redis.status_reply('OK')
end

if verb == 'bury' then
  local dead = members[ARGV[6]]
  if dead then
    dead.buried, dead.confirmed, dead.floor = true, true, 0
    keep()
  end
  return redis.status_reply('OK')
end

local function shown()
  local unseen = missing()
  local answer = {0, all.recovering and 1 or 0}
  for _, other in ipairs(in_order()) do
    local member = members[other]
    local kept = kept_for(member)
    if not is_live(member) then unseen = unseen + kept end
    answer[#answer + 1] = {other, kept, member.in_use, member.floor, member.workers,
                           member['until'] - all.now}
  end
  answer[1] = unseen
  return answer
end

if verb == 'show' then return shown() end

local function number(index) return tonumber(ARGV[index]) end
local report = {
  number = number(6), ledger = ARGV[7], sent = number(8), cap = number(9), floor = number(10),
  floors = number(11), members = number(12), in_use = number(13), workers = number(14),
  request_timeout = number(15), wanted = {}, weight = {}, heard = number(16 + 2 * priorities),
  rates = {}}
for priority = 1, priorities do
  report.wanted[priority] = number(15 + priority)
  report.weight[priority] = number(15 + priorities + priority)
end
local told, server = ARGV[17 + 2 * priorities], ARGV[18 + 2 * priorities]
local rate_ids = {}
for at = 20 + 2 * priorities, math.min(#ARGV, 19 + 2 * priorities + 6 * rates_max), 6 do
  rate_ids[#rate_ids + 1] = ARGV[at]
  report.rates[ARGV[at]] = {limit = number(at + 1), given = number(at + 2), part = number(at + 3),
                            wanted = number(at + 4), weight = number(at + 5)}
end
if told ~= '' then
  told = tonumber(told)
else
  local time = redis.call('TIME')
  told = tonumber(time[1]) * 1000000 + tonumber(time[2])
  -- Whose memory this is: the process, and the history of writes that it goes on with. Either is
  -- another one after a restart, a failover, or what a replica was promoted and demoted.
  server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') .. '.' ..
           string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- Each version of the terms that somebody may go by counts, the longest: while another one goes
-- round, and until nobody else is there.
if next(members) and (next(members) ~= name or next(members, name)) then
  lease, away_max = math.max(lease, all.lease), math.max(away_max, all.away_max)
end
all.lease, all.away_max = lease, away_max

local known = members[name]
if known and (known.buried or report.number <= known.number) then return {0, told} end
local age = told - report.sent
if report.sent ~= 0 and (age > lease or age < -math.floor(lease / 4)) then return {0, told} end
turn_clock(told)
if not known and #in_order() >= members_max then
  forget_the_gone()
  if #in_order() >= members_max then
    return redis.error_reply('FULL the ledger has ' .. members_max .. ' gateways (sharing.members_max)')
  end
end
recover(report, server)
local before = known and known.number or report.number - 1
if known and report.heard < known.number then take_back_unheard(known) end
local member = known or {buried = false, newcomer = report.ledger == ''}
members[name] = member
names = nil
member.number = report.number
member.held = report.cap
member.floor = report.floor
member.in_use = math.min(report.in_use, report.cap)
member.workers = report.workers
member.wanted, member.weight = report.wanted, report.weight
member.rates, member.granted = report.rates, {}
member.request_timeout = report.request_timeout
member['until'] = all.now + lease
member.confirmed = true
forget_the_gone()
if all.recovering then end_recovery() end
if all.now > all.missing_until then all.floors_missing = 0 end

local kept = missing()
local floors = kept
for other, its in pairs(members) do
  if other ~= name then
    kept = kept + kept_for(its)
    floors = floors + its.floor
  end
end
local workers = workers_of_all()
local target = math.min(target_of(workers), math.max(workers - kept, 0))
local free = math.max(workers - (kept + member.held), 0)
if not all.recovering and target > member.held then
  member.held = member.held + math.min(target - member.held, free)
end
local count = #in_order()
local floor = all.recovering and report.floor or
              math.min(math.floor(workers / count), math.max(workers - floors, 0))
member.floor = math.max(report.floor, floor)
local answer = {1, told, all.server, member.held, math.min(target, member.held), floor,
                math.max(floors + member.floor, all.floors_expected),
                math.max(count, all.members_expected), before}
local nobodys = nobodys_part(workers)
for _, id in ipairs(rate_ids) do
  local part, granted, limit = share_of(id, report.rates[id], nobodys)
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = part, granted, limit
  member.granted[id] = granted
end
forget_pools()
keep()
if ARGV[19 + 2 * priorities] == '1' then answer[#answer + 1] = shown() end
return answer
