-- For wrk: POST comments, each with its own text, to a thousand threads from five thousand addresses.
local headers = { ["Content-Type"] = "application/json" }
local body = '{"email":"user%d@example.com","comment":"Comment %d, of an ordinary length for a comment.","content_id":%d}'
local count = 0

request = function()
  count = count + 1
  local text = string.format(body, count % 5000, count, count % 1000)
  return wrk.format("POST", "/api/comment/new", headers, text)
end
