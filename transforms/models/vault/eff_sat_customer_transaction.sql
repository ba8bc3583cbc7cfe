MODEL (
  name vault.eff_sat_customer_transaction,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [transactions],
  grain (transaction_hk, effective_from),
  description 'When a transaction was whose: it has one owner at any instant, and a correction can change that, and change it back'
);

@effectivity(
  customer_transaction,
  hubs := (customer, transaction),
  driving := transaction,
  versions := business.transaction_version,
  start := load_timestamp
);
