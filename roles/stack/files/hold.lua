-- Lets a request wait while writes are held (comentarios-release, edge.py): until `proc.held_until`, which is a time, so
-- that the wait ends even if nobody ends it. HAProxy 3.2's `http-request pause` could replace this.
core.register_action("hold", { "http-req" }, function(txn)
    while core.now().sec < (txn:get_var("proc.held_until") or 0) do
        core.msleep(50)
    end
end)
