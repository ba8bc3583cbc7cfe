-- Only for `stage:` of a Snowflake destination: Snowflake reads the lake's bucket itself, and nothing is uploaded to it.
-- Run once as ACCOUNTADMIN, behind setup.sql. Not run against an account by Tickhouse's own tests (docs/snowflake.md).
-- Write the lake's bucket and prefix, and the role that may read there, for BUCKET, PREFIX and ROLE_ARN.

CREATE STORAGE INTEGRATION IF NOT EXISTS TICKHOUSE_LAKE
  TYPE = EXTERNAL_STAGE STORAGE_PROVIDER = 'S3' ENABLED = TRUE
  STORAGE_AWS_ROLE_ARN = 'ROLE_ARN'
  STORAGE_ALLOWED_LOCATIONS = ('s3://BUCKET/PREFIX/');
GRANT USAGE ON INTEGRATION TICKHOUSE_LAKE TO ROLE TICKHOUSE;

-- What it prints as STORAGE_AWS_IAM_USER_ARN and STORAGE_AWS_EXTERNAL_ID goes into the trust policy of ROLE_ARN, which
-- needs s3:GetObject on s3://BUCKET/PREFIX/* and s3:ListBucket on the bucket.
DESCRIBE INTEGRATION TICKHOUSE_LAKE;
