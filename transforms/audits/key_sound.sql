/* Keys occur once and are never missing; every hub that a row names knows it. `problem` says what is wrong. */
AUDIT (
  name key_sound,
  defaults (required = (), optional = (), hubs = ()),
  blocking TRUE
);

SELECT
  *
FROM @key_problems(@this_model, @key, @required, @optional, @hubs)
