MODEL (
  name vault.eff_sat_customer_company,
  kind VIEW,
  cron '@yearly',
  start '2025-01-01', /* a view is made once, by an interval that has passed, and again only when its file changes */
  tags [customers],
  grain (customer_hk, effective_from),
  description 'When a customer belonged to which company: a customer is of one company, or none, at any instant'
);

@effectivity(
  customer_company,
  hubs := (customer, company),
  driving := customer,
  versions := marts.dim_customer_history,
  start := effective_from
);
