#!/usr/bin/python3
"""Reads every parameter below a path of SSM Parameter Store, with the instance's role of the host.

It returns `parameters`, name → decrypted value: use no_log on the task that registers them.
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={"path": {"type": "str", "required": True}, "region": {"type": "str", "required": True}},
        supports_check_mode=True,
    )
    path, region = module.params["path"], module.params["region"]
    try:
        # boto3 itself takes longer to import than the rest of this module.
        import botocore.session
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        module.fail_json(msg="boto3 is missing on the host: install python3-boto3")
    try:
        ssm = botocore.session.get_session().create_client("ssm", region_name=region)
        pages = ssm.get_paginator("get_parameters_by_path")
        found = {
            one["Name"]: one["Value"]
            for page in pages.paginate(Path=path, Recursive=True, WithDecryption=True)
            for one in page["Parameters"]
        }
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"{path} in SSM Parameter Store of {region} cannot be read: {error}")
    module.exit_json(changed=False, parameters=found)


if __name__ == "__main__":
    main()
