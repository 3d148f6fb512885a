"""Tests of rules, dashboards, receivers; in `live/` those that need a running stack."""
