-- What Tickhouse needs in a Snowflake account: run once as ACCOUNTADMIN. Running it again changes nothing.
-- Not run against an account by Tickhouse's own tests (docs/snowflake.md).

CREATE WAREHOUSE IF NOT EXISTS TICKHOUSE
  WAREHOUSE_SIZE = XSMALL AUTO_SUSPEND = 60 AUTO_RESUME = TRUE INITIALLY_SUSPENDED = TRUE;
CREATE DATABASE IF NOT EXISTS TICKHOUSE;
CREATE ROLE IF NOT EXISTS TICKHOUSE;

-- The least that loads and builds models: it makes schema LANDING and those of the models (VAULT, MARTS, SQLMESH__...),
-- with all that is in them, and so owns these and nothing else.
GRANT USAGE ON WAREHOUSE TICKHOUSE TO ROLE TICKHOUSE;
GRANT OPERATE ON WAREHOUSE TICKHOUSE TO ROLE TICKHOUSE;
GRANT USAGE ON DATABASE TICKHOUSE TO ROLE TICKHOUSE;
GRANT CREATE SCHEMA ON DATABASE TICKHOUSE TO ROLE TICKHOUSE;

-- A user with a key and no password. Make the key with
--   openssl genrsa 2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -out tickhouse.p8
--   openssl rsa -in tickhouse.p8 -pubout
-- and write what stands between the second one's first and last line instead of PUBLIC_KEY.
CREATE USER IF NOT EXISTS TICKHOUSE TYPE = SERVICE DEFAULT_ROLE = TICKHOUSE DEFAULT_WAREHOUSE = TICKHOUSE;
ALTER USER TICKHOUSE SET RSA_PUBLIC_KEY = 'PUBLIC_KEY';
GRANT ROLE TICKHOUSE TO USER TICKHOUSE;
GRANT ROLE TICKHOUSE TO ROLE SYSADMIN;
